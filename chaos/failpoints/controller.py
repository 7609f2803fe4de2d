"""The controller: arms the failpoints of one target's services and collects what struck.

The services' agents connect to its switchboard (the wire is described in ``chaos/agent/_link.py``).
Its referee decides about every counted hit, so occurrences are counted over all matching services
and over their restarts. A hit is what an agent has said that it acts on, no sooner; and it has been
recorded before the effect: a crash cannot outrun its own evidence.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from chaos.errors import NotReady, PointError
from chaos.failpoints.arm import Arm, ArmRequest, check_known
from chaos.failpoints.connection import AgentConnection
from chaos.failpoints.questions import Questions, no_answer
from chaos.failpoints.referee import Referee
from chaos.failpoints.switchboard import Switchboard
from chaos.hit import Hit
from chaos.safety import procfs

__all__ = ["Arm", "ArmRequest", "Controller", "Hit"]

_HOOK = Path(__file__).parents[1] / "agent" / "hook"


_Wanted = ParamSpec("_Wanted")


def _takes(
    _: Callable[_Wanted, ArmRequest],
) -> Callable[[Callable[..., Arm]], Callable[Concatenate[Controller, _Wanted], Arm]]:
    """Tell type checkers that a method has the parameters of :class:`ArmRequest`."""
    return lambda method: method


def _is_stopped(agent: AgentConnection) -> bool:
    """Whether the kernel has stopped the process: what it is told it obeys when it runs on."""
    return procfs.is_stopped(agent.pid)


class Controller:
    """Listens on ``host`` from construction until :meth:`close`; usable from any thread.

    ``request_id_reader`` is ``module:function`` in the services. ``on_hit`` is called on the
    controller's own thread, for every hit: when the agent has said that it acts, and before
    anybody can see the effect where the agent asks first (every crash, pause and counted hit). So
    it must be quick, and may release but not arm, disarm or ask the services anything; an exception
    of it is logged. For a crash it is called before the process dies, and ``Arm.hits`` has it only
    when it is dead.

    One lock, ``_changed``, guards everything here, in the arms and in the parts. Only the
    switchboard's thread reads the sockets, changes ``_agents`` and adds hits; any thread may send.
    ``on_hit`` is called, and agents are waited for, with the lock given back.
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
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()  # guards everything below, told of every change
        self._agents: set[AgentConnection] = set()
        self._arms: dict[int, Arm] = {}  # those that may strike: who connects now must get them
        self._known: weakref.WeakValueDictionary[int, Arm] = weakref.WeakValueDictionary()
        self._questions = Questions(self._changed, self._agents, self._numbers)
        self._referee = Referee(
            self._changed,
            self._agents,
            self._arms,
            self._known.get,
            on_hit or (lambda hit: None),
        )
        self._switchboard = Switchboard(
            host, welcome=self._welcome, hear=self._hear, lost=self._lost
        )
        self._switchboard.open()

    def close(self) -> None:
        """End all connections: the agents disarm everything and let everyone go."""
        self._switchboard.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def environment(self, service: str) -> dict[str, str]:
        """What a service's process needs in its environment to let our agent in."""
        host, port = self._switchboard.address
        paths = [str(_HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "CHAOS_CONTROLLER": f"{host}:{port}",
            "CHAOS_TOKEN": self._switchboard.token,
            "CHAOS_SERVICE": service,
            "CHAOS_REQUEST_ID": self._reader,
            "CHAOS_RUN": self._label,
            "CHAOS_MAIN": "",
            "UWSGI_PY_CALL_UWSGI_FORK_HOOKS": "true",  # or it forks without telling Python
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
        self._switchboard.catch_up(deadline_s)

    # ------------------------------------------------------------------ arming

    @_takes(ArmRequest)
    def arm(self, *wanted: Any, **named: Any) -> Arm:
        """Arm one point: :class:`ArmRequest` has the arguments, :meth:`arm_all` says the rest."""
        return self.arm_all([ArmRequest(*wanted, **named)])[0]

    def arm_all(self, requests: Iterable[ArmRequest], deadline_s: float = 5.0) -> list[Arm]:
        """Arm many points, one round trip for each connected process that is concerned.

        Returns when those have answered. A process that connects later is armed before its first
        line, and a fork from its beginning, as long as there are hits left; one that is stopped
        (SIGSTOP) is told, and armed when it runs on: until then the point is *pending* there.

        Raises:
            PointError: a point means nothing in any of its services (with the nearest names), or
                none of them answered by the deadline. Then none of the points is armed.
        """
        self.catch_up(deadline_s)  # whoever was forked before is asked too
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
            answers, silent = self._questions.exchange(messages, deadline_s, excused=_is_stopped)
            with self._changed:
                for agent, arm in itertools.product(messages.keys() - answers.keys(), arms):
                    if arm.concerns(agent.service) and agent.connected:
                        lost = f"error: {no_answer([agent], deadline_s)}"
                        arm.answered(agent, lost if agent in silent else "pending")
            check_known(arms)
        except PointError:
            with contextlib.suppress(PointError):  # who is silent stays so: the first error counts
                self.disarm(arms, deadline_s)
            raise
        return arms

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
                self._referee.let_everyone_go()

    def _disarm_one(self, arm: Arm, deadline_s: float) -> None:
        self.disarm([arm], deadline_s)

    def disarm(self, arms: Sequence[Arm], deadline_s: float = 5.0) -> None:
        """Take these away everywhere and let go whom they hold, in one round trip.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
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
        arms: Sequence[Arm],
        messages: Mapping[AgentConnection, dict[str, Any]],
        deadline_s: float,
    ) -> None:
        """Disarm; what the agents did until they confirmed, or died of, is still taken down."""
        try:
            self._questions.ask(messages, deadline_s, excused=_is_stopped)
        finally:
            with self._changed:
                self._changed.wait_for(lambda: not self._referee.awaits_death(arms), deadline_s)
                for arm in arms:
                    arm._disarmed = True
                self._changed.notify_all()

    def armed(self) -> dict[str, tuple[str, ...]]:
        """Ask every service which of its functions are armed right now; those without any, too.

        Raises:
            PointError: a service did not answer.
        """
        self.catch_up()
        with self._changed:
            messages = {agent: {"is": "list"} for agent in self._agents}
        found: dict[str, set[str]] = {}
        for agent, answer in self._questions.ask(messages, 5.0).items():
            found.setdefault(agent.service, set()).update(answer["functions"])
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
        answers, _ = self._questions.exchange(messages, deadline_s)
        return {
            wanted[agent, int(number)]: place
            for agent, answer in answers.items()
            for number, place in answer["places"].items()
        }

    # ------------------------------------------------------------------ the switchboard's thread

    def _welcome(self, agent: AgentConnection) -> None:
        with self._changed:
            arms = [arm.wire() for arm in self._arms.values() if arm.concerns(agent.service)]
            agent.send(**{"is": "welcome"}, arms=arms)
            self._agents.add(agent)
            self._changed.notify_all()

    def _hear(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        match message["is"]:
            case "hit":
                self._referee.reached(agent, message)
            case "acted":
                self._referee.acted(agent, message)
            case "resumed":
                self._referee.resumed(agent, message)
            case _:
                self._answered(agent, message)

    def _answered(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        with self._changed:
            for number, state in message.get("states", {}).items():
                arm = self._known.get(int(number))
                if arm is not None:
                    arm.answered(agent, state)
            self._questions.answered(message)
            self._changed.notify_all()

    def _lost(self, agent: AgentConnection) -> None:
        with self._changed:
            self._agents.discard(agent)
            self._questions.lost(agent)
        self._referee.lost(agent)
