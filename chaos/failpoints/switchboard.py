"""Where the agents connect: one thread that accepts them and hears what they say."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import selectors
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from chaos.failpoints.connection import AgentConnection, Refused

_log = logging.getLogger(__name__)

_CLOSE, _CATCH_UP = b"x", b"s"
"""What the thread is woken for."""

_open: weakref.WeakSet[Switchboard] = weakref.WeakSet()


def _close_inherited() -> None:
    """A forked copy of a socket would hide from the agents that their controller died."""
    for switchboard in _open:
        switchboard._abandon()


os.register_at_fork(after_in_child=_close_inherited)


class Switchboard:
    """Listens on ``host`` from :meth:`open` until :meth:`close`, and trusts who has the ``token``.

    On its own thread it calls ``welcome`` with an agent that has shown the token, ``hear`` with
    each message of one that was welcomed, and ``lost`` when a connection has ended; these must be
    quick. Only that thread reads the sockets.
    """

    def __init__(
        self,
        host: str,
        *,
        welcome: Callable[[AgentConnection], None],
        hear: Callable[[AgentConnection, dict[str, Any]], None],
        lost: Callable[[AgentConnection], None],
    ) -> None:
        self.token = secrets.token_urlsafe(32)
        self._welcome = welcome
        self._hear = hear
        self._lost = lost
        self._listener = socket.create_server((host, 0))
        self._woken, self._waker = socket.socketpair()
        self._catching_up: deque[threading.Event] = deque()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="chaos-controller", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def open(self) -> None:
        """Begin to accept."""
        self._thread.start()
        _open.add(self)

    def close(self) -> None:
        """End all connections."""
        if self._thread.is_alive():
            self._waker.send(_CLOSE)
            self._thread.join()
            self._waker.close()

    def catch_up(self, deadline_s: float) -> None:
        """Return when everything that agents have sent so far has been heard."""
        done = threading.Event()
        self._catching_up.append(done)
        self._waker.send(_CATCH_UP)
        done.wait(deadline_s)

    # ------------------------------------------------------------------ its own thread

    def _serve(self) -> None:
        with self._selector, self._listener, self._woken:
            while True:
                if not self._turn(None):
                    for agent in self._connections():
                        self._lose(agent)
                    return

    def _turn(self, patience_s: float | None) -> bool:
        """Obey everybody who has something to say; False when it is time to close."""
        for key, _ in self._selector.select(patience_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._woken:
                self._read(key.data)
            elif _CLOSE in self._woken.recv(4096):
                return False
        while self._catching_up:
            waiting = self._catching_up.popleft()
            # Whatever was sent before is readable now, in this look at the latest.
            if self._selector.select(0) and not self._turn(0):
                return False
            waiting.set()
        return True

    def _abandon(self) -> None:
        """In a forked child: leave the parent's connections to the parent."""
        sockets = [key.fileobj for key in (self._selector.get_map() or {}).values()]
        self._selector.close()  # not unregister(): the set of watched sockets is the parent's too
        for inherited in (*sockets, self._waker):
            assert isinstance(inherited, socket.socket)
            inherited.close()

    def _connections(self) -> Iterator[AgentConnection]:
        keys = list(self._selector.get_map().values())
        return (key.data for key in keys if isinstance(key.data, AgentConnection))

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            _log.warning("a connection was lost before it was accepted: %s", error)
            return
        agent = AgentConnection(connection)
        self._selector.register(connection, selectors.EVENT_READ, agent)

    def _read(self, agent: AgentConnection) -> None:
        try:
            for message in agent.receive():
                if agent.service:
                    self._hear(agent, message)
                else:
                    self._admit(agent, message)
        except Refused as refusal:
            _log.warning("refused a connection: %s", refusal)
            self._lose(agent)
        except OSError:
            self._lose(agent)
        except Exception:
            _log.exception("the agent of %s is not understood", agent.service or "a stranger")
            self._lose(agent)

    def _admit(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        token = message.get("token", "")
        if message.get("is") != "hello" or not hmac.compare_digest(
            str(token).encode(), self.token.encode()
        ):
            raise Refused("it does not know the token")
        agent.service, agent.pid = str(message["service"]), int(message["pid"])
        self._welcome(agent)

    def _lose(self, agent: AgentConnection) -> None:
        self._selector.unregister(agent.socket)
        agent.socket.close()
        self._lost(agent)
