"""Listening: the arms that strike nobody and only tell, which rounds and trials share."""

from __future__ import annotations

from chaos.action import Action
from chaos.errors import NotArmed
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
        self._points: list[Arm] = []
        self._accesses: list[Arm] = []
        self.missing: dict[str, str] = {}
        """Points of the target that lie nowhere in it, by alias, and what is wrong with them."""
        self.watched: dict[int, AccessPoint] = {}
        """The arms that tell what is read and written."""

    def record_every_point(self) -> None:
        """Have every known point tell when it is passed: for the timeline, and for VACUOUS.

        A point that does not exist is noted in :attr:`missing`, and hurts only who strikes there.
        """
        try:
            self._points += self._controller.arm_all(self._unrecorded())
        except NotArmed as error:
            self.missing |= error.points
            self._points += self._controller.arm_all(self._unrecorded())
        self._recorded.update(self._target.points)

    def _unrecorded(self) -> list[ArmRequest]:
        return [
            ArmRequest(point, When.BEFORE, Action.record(), alias=alias, times=None)
            for alias, point in self._target.points.items()
            if alias not in self._recorded and alias not in self.missing
        ]

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
        self._accesses += arms
        return bool(self.watched)

    def forget_hits(self) -> None:
        """A round is over: the next one begins with none."""
        for arm in (*self._points, *self._accesses):
            arm.forget()

    def end_trial(self) -> None:
        """Go on with the points only: every trial wants those, and to arm them takes its time.

        Raises:
            PointError: a service did not confirm.
        """
        arms = list(self._accesses)
        self._accesses.clear()
        self.watched.clear()
        if arms:
            self._controller.disarm(arms)

    def stop(self) -> None:
        """Go on with nothing at all, and whatever else is armed ends too.

        Raises:
            PointError: a service did not confirm.
        """
        self._recorded.clear()
        self._points.clear()
        self._accesses.clear()
        self.watched.clear()
        self._controller.disarm_all()
