"""An action that waits at a point, and the hits that it has had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Condition
from typing import Any

from chaos.action import Action
from chaos.errors import NotArmed
from chaos.failpoints.connection import AgentConnection
from chaos.hit import Hit
from chaos.point import Point, When, means


@dataclass(frozen=True, slots=True)
class ArmRequest:
    """What :meth:`Controller.arm` is asked for.

    ``occurrence`` is the first matching hit that acts, from 1; ``times`` how many act from there,
    None for all. ``requests`` limits it to these request ids, ``""`` among them meaning "while
    serving no request". ``services`` overrides the point's pattern. After a call, ``raised`` limits
    it to calls that raised (True) or returned (False). ``alias`` is the name in reports; without
    it, the function's.
    """

    point: Point
    when: When
    action: Action
    alias: str = ""
    requests: tuple[str, ...] | None = None
    occurrence: int = 1
    times: int | None = 1
    services: str | None = None
    raised: bool | None = None


class Arm:
    """An action that waits at a point, and the hits it has had.

    Any thread may ask it and disarm it; only the controller changes it, holding ``changed``, which
    is told of every change. ``disarm`` takes it away everywhere.
    """

    def __init__(
        self,
        number: int,
        request: ArmRequest,
        changed: Condition,
        disarm: Callable[[Arm, float], None],
    ) -> None:
        self.number = number
        self.request = request
        self.alias = request.alias or request.point.function
        self._pattern = request.point.services if request.services is None else request.services
        self._changed = changed
        self._disarm = disarm
        self._matched = 0
        self._unwanted = 0
        self._acted = 0
        self._hits: list[Hit] = []
        self._states: dict[AgentConnection, str] = {}
        self._failures: dict[str, str] = {}
        self._disarmed = False

    def __repr__(self) -> str:
        return f"<Arm {self.request.action.word} {self.request.when} {self.alias}>"

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Those that acted, in the order in which it was known; a crash, when the process ended."""
        return tuple(self._hits)

    @property
    def matched(self) -> int:
        """How often everything that was asked for was true, whether it acted or not."""
        return self._matched

    @property
    def unwanted(self) -> int:
        """How many calls came to the point but ended the other way: see ``ArmRequest.raised``."""
        return self._unwanted

    @property
    def state(self) -> Mapping[str, str]:
        """What each service answered: ``armed``, ``pending`` (not imported yet) or ``error: …``.

        It is armed as soon as one of its processes is. An error may come late: from the import of
        the module, or where the action was to be taken.
        """
        with self._changed:
            services = {agent.service for agent in self._states}
            return {name: self._state_in(name) for name in services} | self._failures

    def _state_in(self, service: str) -> str:
        states = {agent: s for agent, s in self._states.items() if agent.service == service}
        connected = [state for agent, state in states.items() if agent.connected]
        return min(connected or states.values(), key=_rank)

    def wait(self, deadline_s: float | None, *, number: int = 1) -> Hit | None:
        """Wait for the ``number``-th hit that acted.

        None when it has not come by the deadline, or cannot come because this was disarmed.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._hits) >= number or self._disarmed, deadline_s)
            return self._hits[number - 1] if len(self._hits) >= number else None

    def disarm(self, deadline_s: float = 5.0) -> None:
        """Take it away everywhere and let go whom it holds; what has acted till then is a hit.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
        self._disarm(self, deadline_s)

    def forget(self) -> None:
        """Forget the hits so far: of an arm that outlives what they are evidence for."""
        with self._changed:
            self._hits.clear()

    # ------------------------------------------------------------------ for the controller

    def wire(self) -> dict[str, Any]:
        """What the agents are sent."""
        request = self.request
        return {
            "arm": self.number,
            "function": request.point.function,
            "when": request.when,
            "raised": request.raised,
            "requests": request.requests,
            "ask": self.asks,
            "action": {"word": request.action.word, **request.action.arguments},
        }

    def answered(self, agent: AgentConnection, state: str) -> None:
        """What one process of a service says; those before it that have ended count no more."""
        for other in [other for other in self._states if other.service == agent.service]:
            if not other.connected:
                del self._states[other]
        self._states[agent] = state

    def failed(self, agent: AgentConnection, problem: str) -> None:
        """Somebody came to the point there and could not be struck."""
        self._failures[agent.service] = f"error: {problem}"

    def concerns(self, service: str) -> bool:
        """Whether it is to be armed in this service."""
        return means(self._pattern, service)

    @property
    def asks(self) -> bool:
        """Whether the agents ask before each strike."""
        counted = self.request.times is not None or self.request.occurrence > 1
        # Who crashes or is held must be known here first: for the evidence, for the release.
        return counted or self.request.action.word in ("crash", "pause")

    @property
    def remaining(self) -> int | None:
        """How many more hits act; None when all do."""
        times, before = self.request.times, self.request.occurrence - 1
        return None if times is None else times - max(0, self._matched - before)

    def count(self, *, raised: bool) -> bool:
        """Take one more call into account, and how it ended; whether it is to be struck."""
        if self.request.raised not in (None, raised):
            self._unwanted += 1
            return False
        acts = self._matched >= self.request.occurrence - 1 and self.remaining != 0
        self._matched += 1
        return acts


def _rank(state: str) -> int:
    return ["armed", "pending"].index(state) if state in ("armed", "pending") else 2


def check_known(arms: Iterable[Arm]) -> None:
    """Make sure that every point means something in one of the services that answered.

    Raises:
        NotArmed: some do not; tells which, with the nearest names.
    """
    wrong = {
        arm.alias: "; ".join(
            error.removeprefix("error: ") for error in sorted(set(arm.state.values()))
        )
        for arm in arms
        if arm.state and all(state.startswith("error:") for state in arm.state.values())
    }
    if wrong:
        raise NotArmed(wrong)
