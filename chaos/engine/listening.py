"""Listening: the arms that strike nobody and only tell, which the rounds of a trial share."""

from __future__ import annotations

from chaos.action import Action
from chaos.failpoints.arm import Arm, ArmRequest
from chaos.failpoints.controller import Controller
from chaos.point import AccessPoint, When
from chaos.target import Target


class Listening:
    """What is told all the time: when a point is passed, and what is read and written."""

    def __init__(self, target: Target, controller: Controller) -> None:
        self._target = target
        self._controller = controller
        self._recorded: set[str] = set()
        self._arms: list[Arm] = []
        self.watched: dict[int, AccessPoint] = {}
        """The arms that tell what is read and written."""

    def record_every_point(self) -> None:
        """Have every known point tell when it is passed: for the timeline, and for VACUOUS."""
        wanted = [
            ArmRequest(point, When.BEFORE, Action.record(), alias=alias, times=None)
            for alias, point in self._target.points.items()
            if alias not in self._recorded
        ]
        self._arms += self._controller.arm_all(wanted)
        self._recorded.update(self._target.points)

    def watch_accesses(self) -> bool:
        """Have the services tell what they read and write; False when the target cannot."""
        wanted = self._target.accesses if not self.watched else ()
        arms = self._controller.arm_all(
            ArmRequest(
                access.point, When.BEFORE, Action.record(access.arguments),
                alias=access.point.function, times=None,
            )
            for access in wanted
        )  # fmt: skip
        self.watched.update(zip((arm.number for arm in arms), wanted, strict=True))
        self._arms += arms
        return bool(self.watched)

    def forget_hits(self) -> None:
        """A round is over: the next one begins with none."""
        for arm in self._arms:
            arm.forget()

    def clear(self) -> None:
        """The trial is over: whoever disarms everything takes these away too."""
        self._recorded.clear()
        self._arms.clear()
        self.watched.clear()
