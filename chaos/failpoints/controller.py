"""The controller: arms the failpoints of one target's services and collects what struck.

The services' agents connect to it (the wire is described in ``chaos/agent/_link.py``). It decides
about every counted hit itself, so occurrences are counted over all matching services and over
their restarts, and it has recorded a hit before the agent acts on it: a crash cannot outrun its own
evidence.
"""

from __future__ import annotations

import contextlib
import hmac
import itertools
import logging
import os
import secrets
import selectors
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chaos.action import Action
from chaos.errors import NotReady, PointError
from chaos.failpoints.arm import Arm, ArmRequest, check_known
from chaos.failpoints.connection import AgentConnection, Refused
from chaos.hit import Hit
from chaos.point import Point, When

__all__ = ["Arm", "ArmRequest", "Controller", "Hit"]

_log = logging.getLogger(__name__)

_HOOK = Path(__file__).parents[1] / "agent" / "hook"


_open: weakref.WeakSet[Controller] = weakref.WeakSet()


def _close_inherited() -> None:
    """A forked copy of a socket would hide from the agents that their controller died."""
    for controller in _open:
        controller._abandon()


os.register_at_fork(after_in_child=_close_inherited)


class Controller:
    """Listens on ``host`` from construction until :meth:`close`; usable from any thread.

    ``request_id_reader`` is ``module:function`` in the services. ``on_hit`` is called on the
    controller's own thread before the hit acts, so it must be quick and may not arm or disarm;
    an exception of it is logged.
    """

    def __init__(
        self,
        *,
        label: str,
        host: str = "127.0.0.1",
        request_id_reader: str = "",
        on_hit: Callable[[Hit], None] | None = None,
    ) -> None:
        self._label = label
        self._reader = request_id_reader
        self._on_hit = on_hit or (lambda hit: None)
        self._token = secrets.token_urlsafe(32)
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()  # guards everything below, told of every change
        self._agents: set[AgentConnection] = set()
        self._arms: dict[int, Arm] = {}  # those that a service which connects now must get
        self._held: dict[tuple[AgentConnection, int], threading.Event] = {}
        self._asked: dict[int, AgentConnection] = {}
        self._answers: dict[int, dict[str, Any]] = {}

        self._listener = socket.create_server((host, 0))
        self._closing, self._closer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._closing, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="chaos-controller", daemon=True)
        self._thread.start()
        _open.add(self)

    def close(self) -> None:
        """End all connections: the agents disarm everything and let everyone go."""
        if self._thread.is_alive():
            self._closer.send(b"x")
            self._thread.join()
            self._closer.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def environment(self, service: str) -> dict[str, str]:
        """What a service's process needs in its environment to let our agent in."""
        host, port = self._listener.getsockname()[:2]
        paths = [str(_HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "CHAOS_CONTROLLER": f"{host}:{port}",
            "CHAOS_TOKEN": self._token,
            "CHAOS_SERVICE": service,
            "CHAOS_REQUEST_ID": self._reader,
            "CHAOS_RUN": self._label,
            "PYTHONPATH": os.pathsep.join(paths),
        }

    # ------------------------------------------------------------------ services

    @property
    def connected(self) -> frozenset[str]:
        """The services whose agent is connected."""
        with self._changed:
            return frozenset(agent.service for agent in self._agents)

    def wait_connected(self, services: Iterable[str], deadline_s: float) -> None:
        """Wait until the agents of all these services are connected.

        Raises:
            NotReady: some were not by the deadline; names them.
        """
        wanted = frozenset(services)
        with self._changed:
            if not self._changed.wait_for(lambda: wanted <= self.connected, deadline_s):
                missing = ", ".join(sorted(wanted - self.connected))
                raise NotReady(
                    f"no failpoint agent connected within {deadline_s:g} s from: {missing}; "
                    "see what the service's log says about `chaos agent`"
                )

    # ------------------------------------------------------------------ arming

    def arm(
        self,
        point: Point,
        when: When,
        action: Action,
        *,
        alias: str = "",
        requests: tuple[str, ...] | None = None,
        occurrence: int = 1,
        times: int | None = 1,
        services: str | None = None,
        deadline_s: float = 5.0,
    ) -> Arm:
        """Arm one point: :class:`ArmRequest` explains the arguments, :meth:`arm_all` the rest."""
        wanted = ArmRequest(point, when, action, alias, requests, occurrence, times, services)
        return self.arm_all([wanted], deadline_s)[0]

    def arm_all(self, requests: Iterable[ArmRequest], deadline_s: float = 5.0) -> list[Arm]:
        """Arm many points, one round trip for each connected service that is concerned.

        Returns when those have answered. A service that connects later is armed before its first
        line, as long as there are hits left.

        Raises:
            PointError: a point means nothing in any of its services (with the nearest names), or
                a service did not answer by the deadline. Then none of them is armed.
        """
        arms = [
            Arm(next(self._numbers), request, self._changed, self._disarm_one)
            for request in requests
        ]
        with self._changed:
            self._arms.update({arm.number: arm for arm in arms})
            messages = {
                agent: {"is": "arm", "arms": wires}
                for agent in self._agents
                if (wires := [arm.wire() for arm in arms if arm.concerns(agent.service)])
            }
        try:
            self._ask(messages, deadline_s)
            check_known(arms)
        except PointError:
            with contextlib.suppress(PointError):  # who is silent stays so: the first error counts
                self._disarm(arms, deadline_s)
            raise
        return arms

    def disarm_all(self, deadline_s: float = 5.0) -> None:
        """Take everything away everywhere and let everyone go.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
        with self._changed:
            for arm in self._arms.values():
                arm._disarmed = True
            self._arms.clear()
            self._changed.notify_all()
            for held in self._held.values():
                held.set()
            messages = {agent: {"is": "disarm", "arms": None} for agent in self._agents}
        self._ask(messages, deadline_s)

    def _disarm_one(self, arm: Arm, deadline_s: float) -> None:
        self._disarm([arm], deadline_s)

    def _disarm(self, arms: list[Arm], deadline_s: float) -> None:
        numbers = [arm.number for arm in arms]
        with self._changed:
            for arm in arms:
                arm._disarmed = True
                self._arms.pop(arm.number, None)
            self._changed.notify_all()
            messages = {
                agent: {"is": "disarm", "arms": numbers}
                for agent in self._agents
                if any(arm.concerns(agent.service) for arm in arms)
            }
        self._ask(messages, deadline_s)
        for hit in itertools.chain.from_iterable(arm.hits for arm in arms):
            hit.release()

    def armed(self) -> dict[str, tuple[str, ...]]:
        """Ask every service which of its functions are armed right now; those without any, too.

        Raises:
            PointError: a service did not answer.
        """
        with self._changed:
            messages = {agent: {"is": "list"} for agent in self._agents}
        found: dict[str, set[str]] = {agent.service: set() for agent in messages}
        for agent, answer in self._ask(messages, 5.0).items():
            found[agent.service].update(answer["functions"])
        return {service: tuple(sorted(functions)) for service, functions in sorted(found.items())}

    def _ask(
        self, messages: Mapping[AgentConnection, dict[str, Any]], deadline_s: float
    ) -> dict[AgentConnection, dict[str, Any]]:
        """Send, and wait for the answers of all agents that stay connected."""
        with self._changed:
            asked = {next(self._numbers): agent for agent in messages}
            self._asked.update(asked)
        for ticket, agent in asked.items():
            agent.send(**messages[agent], ticket=ticket)
        with self._changed:
            self._changed.wait_for(lambda: not self._asked.keys() & asked.keys(), deadline_s)
            silent = {self._asked.pop(t).service for t in asked if t in self._asked}
            answers = {
                agent: self._answers.pop(ticket)
                for ticket, agent in asked.items()
                if ticket in self._answers
            }
        if silent:
            raise PointError(
                f"no answer within {deadline_s:g} s from the failpoint agent of: "
                f"{', '.join(sorted(silent))}; is the process frozen?"
            )
        return answers

    # ------------------------------------------------------------------ the controller's thread

    def _serve(self) -> None:
        with self._selector, self._listener, self._closing:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._closing:
                        for agent in self._connections():
                            self._lose(agent)
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._read(key.data)

    def _abandon(self) -> None:
        """In a forked child: leave the parent's connections to the parent."""
        sockets = [key.fileobj for key in (self._selector.get_map() or {}).values()]
        self._selector.close()  # not unregister(): the set of watched sockets is the parent's too
        for inherited in (*sockets, self._closer):
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
                self._perform(agent, message)
        except Refused as refusal:
            _log.warning("refused a connection: %s", refusal)
            self._lose(agent)
        except OSError:
            self._lose(agent)
        except Exception:
            _log.exception("the agent of %s is not understood", agent.service or "a stranger")
            self._lose(agent)

    def _lose(self, agent: AgentConnection) -> None:
        self._selector.unregister(agent.socket)
        agent.socket.close()
        with self._changed:
            self._agents.discard(agent)
            for key in [key for key in self._held if key[0] is agent]:
                self._held.pop(key).set()
            self._asked = {t: asked for t, asked in self._asked.items() if asked is not agent}
            self._changed.notify_all()

    def _perform(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        if agent not in self._agents:
            self._welcome(agent, message)
            return
        if message["is"] == "hit":
            self._strike(agent, message)
            return
        with self._changed:
            if message["is"] == "resumed":
                held = self._held.pop((agent, message["hit"]), None)
                if held is not None:
                    held.set()
            for number, state in message.get("states", {}).items():
                if int(number) in self._arms:
                    self._arms[int(number)]._state[agent.service] = state
            if self._asked.pop(message.get("ticket", 0), None):
                self._answers[message["ticket"]] = message
            self._changed.notify_all()

    def _welcome(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        token = message.get("token", "")
        if message.get("is") != "hello" or not hmac.compare_digest(
            str(token).encode(), self._token.encode()
        ):
            raise Refused("it does not know the token")
        agent.service, agent.pid = str(message["service"]), int(message["pid"])
        with self._changed:
            arms = [arm.wire() for arm in self._arms.values() if arm.concerns(agent.service)]
            agent.send(**{"is": "welcome"}, arms=arms)
            self._agents.add(agent)
            self._changed.notify_all()

    def _strike(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        with self._changed:
            arm = self._arms.get(message["arm"])
            hit = None
            if arm is not None and arm.count():
                hit = self._hit(arm, agent, message)
                if arm.remaining == 0:
                    del self._arms[arm.number]
        if arm is not None and hit is not None:
            try:
                self._on_hit(hit)
            except Exception:
                _log.exception("on_hit failed for %s", hit)
            with self._changed:
                arm._hits.append(hit)
                self._changed.notify_all()
        if arm is not None and arm.remaining == 0:
            # Spent. Before the verdict: when the call goes on its function is as it was.
            for other in [a for a in self._agents if arm.concerns(a.service)]:
                other.send(**{"is": "disarm"}, arms=[arm.number], ticket=0)
        agent.send(**{"is": "verdict"}, hit=message["hit"], act=hit is not None)

    def _hit(self, arm: Arm, agent: AgentConnection, message: dict[str, Any]) -> Hit:
        wanted = arm.request
        number = message["hit"]
        free = None
        if wanted.action.word == "pause":
            free = self._held[agent, number] = threading.Event()
        return Hit(
            alias=arm.alias,
            function=wanted.point.function,
            when=wanted.when,
            action=wanted.action.word,
            service=agent.service,
            pid=agent.pid,
            thread=message["thread"],
            request=message["request"],
            arm=arm.number,
            number=len(arm._hits) + 1,
            at_ns=message["at_ns"],
            raised=message["raised"],
            told=message.get("told", {}),
            _free=free,
            _let_go=lambda: agent.send(**{"is": "release"}, hit=number),
        )
