"""An action that waits at a point, and the hits that it has had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from chaos.errors import PointError
from chaos.failpoints.action import Action, Crash, Delay, Pause
from chaos.failpoints.connection import Connection, Held
from chaos.point import Point, When

if TYPE_CHECKING:
    from chaos.failpoints.controller import Controller


@dataclass(frozen=True, slots=True)
class ArmRequest:
    """What :meth:`Controller.arm` is asked for.

    ``occurrence`` is the first matching hit that acts, from 1; ``times`` how many act from there,
    None for all. ``request`` limits it to one actor. ``services`` overrides the point's pattern.
    ``alias`` is the name in reports; without it, the function's.
    """

    point: Point
    when: When
    action: Action
    alias: str = ""
    request: str | None = None
    occurrence: int = 1
    times: int | None = 1
    services: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One time that an armed point was reached and its action taken.

    ``arm`` is the :attr:`Arm.number` of what acted; ``number`` counts that arm's hits from 1;
    ``at_ns`` is the machine's monotonic clock;
    ``raised`` is the type of the exception with which the call ended, for a point after it.
    """

    alias: str
    function: str
    when: When
    action: str
    service: str
    pid: int
    thread: str
    request: str | None
    arm: int
    number: int
    at_ns: int
    raised: str = ""
    _held: Held | None = field(default=None, repr=False)

    @property
    def released(self) -> bool:
        """Whether the actor goes on; True also where none was held."""
        return self._held is None or self._held.free.is_set()

    def release(self) -> None:
        """Let a paused actor go on; does nothing when it does already."""
        if self._held is not None and not self._held.free.is_set():
            self._held.free.set()
            self._held.by.send(**{"is": "release"}, hit=self._held.hit)


class Arm:
    """An action that waits at a point, and the hits it has had."""

    def __init__(self, controller: Controller, number: int, request: ArmRequest) -> None:
        self.alias = request.alias or request.point.function
        self._controller = controller
        self.number = number
        self._request = request
        self._pattern = request.point.services if request.services is None else request.services
        self._matched = 0
        self._hits: list[Hit] = []
        self._state: dict[str, str] = {}
        self._disarmed = False

    def __repr__(self) -> str:
        return f"<Arm {self._request.action.word} {self._request.when} {self.alias}>"

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Those that acted, in the order in which they were reported."""
        return tuple(self._hits)

    @property
    def state(self) -> Mapping[str, str]:
        """What each service answered: ``armed``, ``pending`` (not imported yet) or ``error: …``."""
        return dict(self._state)

    def wait(self, deadline_s: float | None, *, number: int = 1) -> Hit | None:
        """Wait for the ``number``-th hit that acted.

        None when it has not come by the deadline, or cannot come because this was disarmed.
        """
        changed = self._controller._changed
        with changed:
            changed.wait_for(lambda: len(self._hits) >= number or self._disarmed, deadline_s)
            return self._hits[number - 1] if len(self._hits) >= number else None

    def disarm(self, deadline_s: float = 5.0) -> None:
        """Take it away everywhere and let go whom it holds.

        Raises:
            PointError: a service did not confirm by the deadline.
        """
        self._controller._disarm([self], deadline_s)

    def _wire(self) -> dict[str, Any]:
        request = self._request
        action = {"word": request.action.word, **asdict(request.action)}  # type: ignore[call-overload]
        if isinstance(request.action, Delay):
            action["limit_s"] = action.pop("seconds")
        counted = request.times is not None or request.occurrence > 1
        return {
            "arm": self.number,
            "function": request.point.function,
            "when": request.when,
            "request": request.request,
            # Who crashes or is held must be known here first: for the evidence, for the release.
            "ask": counted or action["word"] in (Crash.word, Pause.word),
            "action": action,
        }

    def _concerns(self, agent: Connection) -> bool:
        return fnmatchcase(agent.service, self._pattern)

    @property
    def _remaining(self) -> int | None:
        times, before = self._request.times, self._request.occurrence - 1
        return None if times is None else times - max(0, self._matched - before)

    def _count(self) -> bool:
        """Take one more match into account; whether it acts."""
        acts = self._matched >= self._request.occurrence - 1 and self._remaining != 0
        self._matched += 1
        return acts


def check_known(arms: Iterable[Arm]) -> None:
    """Make sure that every point means something in one of the services that answered.

    Raises:
        PointError: some do not; tells which, with the nearest names.
    """
    problems = [
        f"{arm.alias}: {error.removeprefix('error: ')}"
        for arm in arms
        if arm._state and all(state.startswith("error:") for state in arm._state.values())
        for error in sorted(set(arm._state.values()))
    ]
    if problems:
        raise PointError("\n".join(problems))
