"""Where the agents connect: one thread that accepts them and hears what they say."""

from __future__ import annotations

import errno
import hmac
import logging
import os
import secrets
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from chaos.failpoints.connection import AgentConnection, Refused

_log = logging.getLogger(__name__)

_CLOSE, _CATCH_UP = b"x", b"s"
"""What the thread is woken for."""

STRANGER_S = 5.0
"""So long a connection may take to show the token."""
FULL_S = 0.5
"""So long nobody is accepted when there are no more files."""

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
        self._strangers: set[AgentConnection] = set()
        self._was_full = False
        self._full_until_s = 0.0
        self._listener = socket.create_server((host, 0))
        self._listener.setblocking(False)
        self._woken, self._waker = socket.socketpair()
        self._catching_up: deque[threading.Event] = deque()
        self._is_hearing = False
        """Whether something that was read may not have been heard."""
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
        # In this order: what has been read is no more to be seen, but is not heard before the end.
        if not self._selector.select(0) and not self._is_hearing:
            return  # mostly so, and much faster than to have a thread say it
        done = threading.Event()
        self._catching_up.append(done)
        self._waker.send(_CATCH_UP)
        done.wait(deadline_s)

    # ------------------------------------------------------------------ its own thread

    def _serve(self) -> None:
        with self._selector, self._listener, self._woken:
            while self._turn(self._patience_s()):
                self._refuse_the_silent()
                self._accept_again()
            for agent in self._connections():
                self._lose(agent)

    def _turn(self, patience_s: float | None) -> bool:
        """Obey everybody who has something to say; False when it is time to close."""
        found = self._selector.select(patience_s)
        self._is_hearing = True  # before anything is read
        for key, _ in found:
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._woken:
                self._read(key.data)
            elif _CLOSE in self._woken.recv(4096):
                return False
        while self._catching_up:
            waiting = self._catching_up.popleft()
            # Whoever has connected before is accepted in this look at the latest, and whatever was
            # sent before is readable in the next.
            for _ in range(2):
                if self._selector.select(0) and not self._turn(0):
                    return False
            waiting.set()
        self._is_hearing = False
        return True

    def _patience_s(self) -> float | None:
        """Until somebody is to be refused for his silence, or accepted again."""
        due = [stranger.since_s + STRANGER_S for stranger in self._strangers]
        if self._full_until_s:
            due.append(self._full_until_s)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _refuse_the_silent(self) -> None:
        now = time.monotonic()
        for stranger in [one for one in self._strangers if now >= one.since_s + STRANGER_S]:
            _log.warning("refused a connection: it said nothing for %g s", STRANGER_S)
            self._lose(stranger)

    def _abandon(self) -> None:
        """In a forked child: leave the parent's connections to the parent."""
        sockets = {key.fileobj for key in (self._selector.get_map() or {}).values()}
        self._selector.close()  # not unregister(): the set of watched sockets is the parent's too
        for inherited in sockets | {self._listener, self._waker}:
            assert isinstance(inherited, socket.socket)
            inherited.close()

    def _connections(self) -> Iterator[AgentConnection]:
        keys = list(self._selector.get_map().values())
        return (key.data for key in keys if isinstance(key.data, AgentConnection))

    def _accept(self) -> None:
        """Accept all who have connected."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._pause_accepting(error)
                return
            agent = AgentConnection(connection)
            self._strangers.add(agent)
            self._selector.register(connection, selectors.EVENT_READ, agent)
            self._was_full = False

    def _pause_accepting(self, error: OSError) -> None:
        """Who could not be accepted stays in the queue, and would wake us at once again."""
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            _log.warning("a connection was lost before it was accepted: %s", error)
            return
        if not self._was_full:
            _log.warning("no agent can connect until files are closed: %s", error)
        self._was_full = True
        self._full_until_s = time.monotonic() + FULL_S
        self._selector.unregister(self._listener)

    def _accept_again(self) -> None:
        if self._full_until_s and time.monotonic() >= self._full_until_s:
            self._full_until_s = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _read(self, agent: AgentConnection) -> None:
        try:
            for message in agent.receive():
                if agent.connected:
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
        agent.main = bool(message.get("main", True))
        agent.connected = True
        self._strangers.discard(agent)
        self._welcome(agent)

    def _lose(self, agent: AgentConnection) -> None:
        self._selector.unregister(agent.socket)
        agent.socket.close()
        agent.connected = False
        self._strangers.discard(agent)
        self._lost(agent)
