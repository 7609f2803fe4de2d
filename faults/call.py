"""Faults of a single call: it is late, fails, answers something else, is lost, is made twice."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import Field

from chaos.action import Action
from chaos.fault import Fault, FaultContext, Strike
from chaos.plan import Location
from faults.hitting import Hitting


class OnCall(Fault):
    """What the faults of a call have in common; each of ``times`` calls has to be struck."""

    word: ClassVar[str]

    times: int = Field(1, ge=1, description="how many calls, from the location's occurrence on")

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Arm it."""
        assert at is not None
        arm = context.arm(at, self.action(), times=self.times)
        return Hitting(context, arm, at, self.word, self.times)

    @abstractmethod
    def action(self) -> Action:
        """What the agent is to do."""


class Delay(OnCall):
    """The call takes longer."""

    word: ClassVar[str] = "delay"

    seconds: float = Field(gt=0, le=60, description="how much longer, in seconds")

    def action(self) -> Action:
        """Hold whoever calls."""
        return Action.delay(self.seconds)


class Error(OnCall):
    """The call raises instead of (before) or after doing its work."""

    word: ClassVar[str] = "error"

    exception: str = Field(
        "RuntimeError", description="a builtin's name, or module:Class as the service imports it"
    )
    message: str = "injected by a fault plan"

    def action(self) -> Action:
        """Raise."""
        return Action.error(self.exception, self.message)


class Return(OnCall):
    """The call answers a given value: it is not made (before), or its answer is lost (after)."""

    word: ClassVar[str] = "return"

    value: Any = Field(None, description="what the caller gets, any value that YAML can write")

    def action(self) -> Action:
        """Answer."""
        return Action.answer(self.value)


class Drop(OnCall):
    """The call is not made (before), or its answer is lost (after): the caller gets None."""

    word: ClassVar[str] = "drop"

    def action(self) -> Action:
        """Lose it."""
        return Action.drop()


class Duplicate(OnCall):
    """The call is made twice; the caller gets the second answer."""

    word: ClassVar[str] = "duplicate"

    def action(self) -> Action:
        """Make it twice."""
        return Action.duplicate()
