"""The controller: arms the failpoints of one target's services and collects what struck.

The services' agents connect to it (the wire is described in ``chaos/agent/_link.py``). It decides
about every counted hit itself, so occurrences are counted over all matching services and over
their restarts. A hit is what an agent has said that it acts on, no sooner; and it has been recorded
before the effect: a crash cannot outrun its own evidence.
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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from chaos.errors import NotReady, PointError
from chaos.failpoints.arm import Arm, ArmRequest, check_known
from chaos.failpoints.connection import AgentConnection, Refused
from chaos.hit import Hit

__all__ = ["Arm", "ArmRequest", "Controller", "Hit"]

_log = logging.getLogger(__name__)

_CLOSE, _CATCH_UP = b"x", b"s"
"""What the controller's thread is woken for."""

_HOOK = Path(__file__).parents[1] / "agent" / "hook"


_Wanted = ParamSpec("_Wanted")


def _takes(
    _: Callable[_Wanted, ArmRequest],
) -> Callable[[Callable[..., Arm]], Callable[Concatenate[Controller, _Wanted], Arm]]:
    """Tell type checkers that a method has the parameters of :class:`ArmRequest`."""
    return lambda method: method


_open: weakref.WeakSet[Controller] = weakref.WeakSet()


def _close_inherited() -> None:
    """A forked copy of a socket would hide from the agents that their controller died."""
    for controller in _open:
        controller._abandon()


os.register_at_fork(after_in_child=_close_inherited)


class Controller:
    """Listens on ``host`` from construction until :meth:`close`; usable from any thread.

    ``request_id_reader`` is ``module:function`` in the services. ``on_hit`` is called on the
    controller's own thread, for every hit: when the agent has said that it acts, and before
    anybody can see the effect where the agent asks first (every crash, pause and counted hit). So
    it must be quick and may not arm or disarm, but may release; an exception of it is logged. For a
    crash it is called before the process dies, and ``Arm.hits`` has it only when it is dead.

    One lock, ``_changed``, guards everything here and in the arms. Only the controller's own thread
    reads the sockets, changes ``_agents`` and adds hits; any thread may send. ``on_hit`` is called,
    and agents are waited for, with the lock given back.
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
        self._arms: dict[int, Arm] = {}  # those that may strike: who connects now must get them
        self._known: weakref.WeakValueDictionary[int, Arm] = weakref.WeakValueDictionary()
        self._allowed: dict[tuple[AgentConnection, int], tuple[Arm, dict[str, Any]]] = {}
        self._dying: list[tuple[AgentConnection, Arm, Hit]] = []  # crashes under way
        self._held: dict[tuple[AgentConnection, int], threading.Event] = {}
        self._asked: dict[int, AgentConnection] = {}
        self._answers: dict[int, dict[str, Any]] = {}

        self._listener = socket.create_server((host, 0))
        self._woken, self._waker = socket.socketpair()
        self._catching_up: deque[threading.Event] = deque()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="chaos-controller", daemon=True)
        self._thread.start()
        _open.add(self)

    def close(self) -> None:
        """End all connections: the agents disarm everything and let everyone go."""
        if self._thread.is_alive():
            self._waker.send(_CLOSE)
            self._thread.join()
            self._waker.close()

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

    def catch_up(self, deadline_s: float = 5.0) -> None:
        """Return when everything that agents have sent so far has been taken note of."""
        done = threading.Event()
        self._catching_up.append(done)
        self._waker.send(_CATCH_UP)
        done.wait(deadline_s)

    # ------------------------------------------------------------------ arming

    @_takes(ArmRequest)
    def arm(self, *wanted: Any, **named: Any) -> Arm:
        """Arm one point: :class:`ArmRequest` has the arguments, :meth:`arm_all` says the rest."""
        return self.arm_all([ArmRequest(*wanted, **named)])[0]

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
            self._known.update({arm.number: arm for arm in arms})
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

    def disarm(self, arms: Iterable[Arm], deadline_s: float = 5.0) -> None:
        """Take these away everywhere, in one round trip, and let go whom they hold.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
        self._disarm(list(arms), deadline_s)

    def disarm_all(self, deadline_s: float = 5.0) -> None:
        """Take everything away everywhere and let everyone go.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
        with self._changed:
            arms = list(self._known.values())
            self._arms.clear()
            messages = {agent: {"is": "disarm", "arms": None} for agent in self._agents}
        try:
            self._withdraw(arms, messages, deadline_s)
        finally:
            with self._changed:
                for held in self._held.values():
                    held.set()

    def _disarm_one(self, arm: Arm, deadline_s: float) -> None:
        self._disarm([arm], deadline_s)

    def _disarm(self, arms: list[Arm], deadline_s: float) -> None:
        numbers = [arm.number for arm in arms]
        with self._changed:
            for number in numbers:
                self._arms.pop(number, None)
            messages = {
                agent: {"is": "disarm", "arms": numbers}
                for agent in self._agents
                if any(arm.concerns(agent.service) for arm in arms)
            }
        try:
            self._withdraw(arms, messages, deadline_s)
        finally:
            for hit in itertools.chain.from_iterable(arm.hits for arm in arms):
                hit.release()

    def _withdraw(
        self,
        arms: list[Arm],
        messages: Mapping[AgentConnection, dict[str, Any]],
        deadline_s: float,
    ) -> None:
        """Disarm; what the agents did until they confirmed, or died of, is still taken down."""
        try:
            self._ask(messages, deadline_s)
        finally:
            with self._changed:
                self._changed.wait_for(
                    lambda: not any(arm in arms for _, arm, _ in self._dying), deadline_s
                )
                for arm in arms:
                    arm._disarmed = True
                self._changed.notify_all()

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

    def whereabouts(self, hits: Iterable[Hit], deadline_s: float = 1.0) -> dict[Hit, str]:
        """Where the thread of each hit is right now, e.g. ``queue:171 Queue.get #7/150``.

        Equal on two calls exactly when the thread was in the same line of the same call both times
        (so a loop that waits there again and again looks the same). Left out are hits whose agent
        is dead or silent, whose thread has ended, and those that were followed by another hit of
        the same thread for the same request. The thread of a coroutine is that of its event loop.
        """
        wanted = {hit._reported: hit for hit in hits}
        with self._changed:
            messages = {
                agent: {"is": "where", "hits": numbers}
                for agent in self._agents
                if (numbers := [number for owner, number in wanted if owner is agent])
            }
        answers, _ = self._exchange(messages, deadline_s)
        return {
            wanted[agent, int(number)]: place
            for agent, answer in answers.items()
            for number, place in answer["places"].items()
        }

    def _ask(
        self, messages: Mapping[AgentConnection, dict[str, Any]], deadline_s: float
    ) -> dict[AgentConnection, dict[str, Any]]:
        """Send, and wait for the answers of all agents that stay connected."""
        answers, silent = self._exchange(messages, deadline_s)
        if silent:
            raise PointError(
                f"no answer within {deadline_s:g} s from the failpoint agent of: "
                f"{', '.join(sorted(silent))}; is the process frozen?"
            )
        return answers

    def _exchange(
        self, messages: Mapping[AgentConnection, dict[str, Any]], deadline_s: float
    ) -> tuple[dict[AgentConnection, dict[str, Any]], set[str]]:
        """The answers to messages, and the services that are connected but gave none."""
        with self._changed:
            present = [agent for agent in messages if agent in self._agents]
            asked = {next(self._numbers): agent for agent in present}
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
        return answers, silent

    # ------------------------------------------------------------------ the controller's thread

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
            for dying in [dying for dying in self._dying if dying[0] is agent]:
                self._dying.remove(dying)
                _, arm, hit = dying
                arm._hits.append(hit)
            lost = [self._allowed.pop(key)[0] for key in [*self._allowed] if key[0] is agent]
            for arm in lost:
                arm._state[agent.service] = "error: its agent left before it acted"
            self._asked = {t: asked for t, asked in self._asked.items() if asked is not agent}
            self._changed.notify_all()
        for arm in lost:
            self._withdraw_spent(arm)

    def _perform(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        if agent not in self._agents:
            self._welcome(agent, message)
            return
        match message["is"]:
            case "hit":
                self._reached(agent, message)
            case "acted":
                self._acted(agent, message)
            case "resumed":
                with self._changed:
                    held = self._held.pop((agent, message["hit"]), None)
                    if held is not None:
                        held.set()
                    self._changed.notify_all()
            case _:
                self._answered(agent, message)

    def _answered(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        with self._changed:
            for number, state in message.get("states", {}).items():
                arm = self._known.get(int(number))
                if arm is not None:
                    arm._state[agent.service] = state
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

    def _reached(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        """A call came to an armed point. An agent that does not ask has decided by itself."""
        with self._changed:
            arm = self._known.get(message["arm"])
            asks = arm is None or arm.asks
            acts = (
                arm is not None
                and (not asks or arm.number in self._arms)
                and arm.count(raised=bool(message["raised"]))
            )
            if arm is not None and asks and acts:
                self._allowed[agent, message["hit"]] = arm, message
                if arm.remaining == 0:
                    del self._arms[arm.number]
            self._changed.notify_all()
        if asks:
            agent.send(**{"is": "verdict"}, hit=message["hit"], act=acts)
        elif arm is not None and acts:
            self._strike(agent, arm, message, message["problem"])

    def _acted(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        """An agent that was allowed to act does so, or tells why it cannot."""
        with self._changed:
            arm, reached = self._allowed.pop((agent, message["hit"]))
        self._strike(agent, arm, reached, message["problem"])
        self._withdraw_spent(arm)  # before the call goes on: its function is as it was
        agent.send(**{"is": "recorded"}, hit=message["hit"])

    def _strike(
        self, agent: AgentConnection, arm: Arm, reached: dict[str, Any], problem: str
    ) -> None:
        if problem:
            with self._changed:
                arm._state[agent.service] = f"error: {problem}"
                self._changed.notify_all()
            return
        with self._changed:
            hit = self._hit(arm, agent, reached)
        try:
            self._on_hit(hit)
        except Exception:
            _log.exception("on_hit failed for %s", hit)
        with self._changed:
            if hit.action == "crash":
                self._dying.append((agent, arm, hit))
            else:
                arm._hits.append(hit)
            self._changed.notify_all()

    def _withdraw_spent(self, arm: Arm) -> None:
        """Take an arm away that has no strikes left, unless one that was allowed may yet come."""
        with self._changed:
            if arm.remaining != 0 or any(other is arm for other, _ in self._allowed.values()):
                return
        for agent in [agent for agent in self._agents if arm.concerns(agent.service)]:
            agent.send(**{"is": "disarm"}, arms=[arm.number], ticket=0)

    def _hit(self, arm: Arm, agent: AgentConnection, message: dict[str, Any]) -> Hit:
        wanted = arm.request
        number = message["hit"]
        arm._acted += 1
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
            number=arm._acted,
            at_ns=message["at_ns"],
            raised=message["raised"],
            told=message["told"],
            _free=free,
            _let_go=lambda: agent.send(**{"is": "release"}, hit=number),
            _reported=(agent, number),
        )
