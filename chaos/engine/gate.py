"""A gate: the points of one ``race``, at which each of its actors is held."""

from __future__ import annotations

from collections.abc import Container, Sequence

from chaos.engine.stage import Stage
from chaos.failpoints.arm import Arm
from chaos.fault import Strike
from chaos.plan import Location


class Gate(Strike):
    """The actors and points of one ``race``; it struck when its actors have ended."""

    def __init__(
        self, stage: Stage, arms: dict[str, list[Arm]], points: Sequence[Location], crashes: int
    ):
        self.stage = stage
        self.arms = arms
        """Actor → its arm at each of the points."""
        self.points = points
        self.crashes = crashes
        """How many deaths there may still be."""
        self.finished = False
        self.passed: set[str] = set()
        """The points at which some actor was held."""

    def note_held(self, held: Container[int]) -> None:
        """Note that somebody is held by these arms."""
        for arms in self.arms.values():
            places = zip(arms, self.points, strict=True)
            self.passed.update(str(point) for arm, point in places if arm.number in held)

    def wait(self, deadline_s: float) -> bool:
        """Wait until all its actors have ended."""
        return self.stage.history.wait_for(lambda: self.finished, deadline_s)

    def missing(self) -> str:
        """Which actors never came to one of its points."""
        idle = [actor for actor, arms in self.arms.items() if not any(a.hits for a in arms)]
        return f"{', '.join(idle)} never came to any of the race's points." if idle else ""
