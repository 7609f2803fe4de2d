"""Passages: which points a run came through, in which service, and the how-manieth time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chaos.history import Event, Kind
from chaos.plan import Injection, Location, Phase
from chaos.point import When

_ENDS = (Phase.THEN.value, "clean up")
"""The steps of the engine at which all that a phase has brought about is over."""


@dataclass(frozen=True, slots=True, order=True)
class Passage:
    """One call of a point's function, in one part of a plan; the ``occurrence``-th in its service.

    Crashed on the side ``when``: before the call was made, or after it had returned.
    """

    phase: Phase
    when: When
    point: str
    service: str
    occurrence: int

    def __str__(self) -> str:
        """``before bdm.destroy in compute-host1, 2nd time, in recover``."""
        again = f", occurrence {self.occurrence}" if self.occurrence > 1 else ""
        where = "" if self.phase is Phase.DURING else f", in {self.phase}"
        return f"{self.when} {self.point} in {self.service}{again}{where}"

    def crash(self) -> Injection:
        """The fault of a plan that strikes there."""
        return Injection(
            phase=self.phase,
            at=Location(
                when=self.when, point=self.point, service=self.service, occurrence=self.occurrence
            ),
            do="crash",
        )


def passages(events: Iterable[Event], phase: Phase) -> list[Passage]:
    """Both sides of every call that was recorded from the beginning of a phase until all settled.

    In the order of the calls; ``events`` are those of one whole round. What is passed only because
    the plan itself has taken somebody down, who is brought back then, belongs to the recovery.
    """
    found: list[Passage] = []
    times: Counter[tuple[str, str]] = Counter()
    inside = killed = False
    for event in sorted(events, key=lambda event: event.at_ns):
        if event.kind is Kind.STEP and event.lane == "plan":
            inside = event.name == phase.value or (inside and event.name not in _ENDS)
            if killed and inside and event.name == Phase.RECOVER:
                phase = Phase.RECOVER
                times.clear()
        elif inside and event.kind is Kind.SERVICE and event.name == "killed":
            killed = True
        elif inside and event.kind is Kind.HIT and event.data["action"] == "record":
            times[event.lane, event.name] += 1
            occurrence = times[event.lane, event.name]
            found += [
                Passage(phase, when, event.name, event.lane, occurrence)
                for when in (When.BEFORE, When.AFTER)
            ]
    return found
