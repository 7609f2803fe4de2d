"""Faults of a single call: it is late, fails, answers something else, is lost, is made twice."""

from __future__ import annotations

import builtins
from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from chaos.action import Action
from chaos.errors import nearest
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


def _is_exception(name: str) -> str:
    """Make sure of what can be known before there is a service."""
    module, colon, path = name.removeprefix("builtins:").rpartition(":")
    if not colon and path not in _BUILTINS:
        raise ValueError(
            f"`{name}` is no exception that can be raised; {nearest(name, _BUILTINS)};"
            " one of a module is `module:Class`"
        )
    if colon and not (module and path.isidentifier()):
        raise ValueError(f"`{name}` is not of the form `module:Class`")
    return name


def _can_be_raised(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Exception)


_BUILTINS = [name for name, found in vars(builtins).items() if _can_be_raised(found)]
ExceptionName = Annotated[str, AfterValidator(_is_exception)]


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

    exception: ExceptionName = Field(
        "RuntimeError", description="a builtin's name, or module:Class as the service imports it"
    )
    message: str = "injected by a fault plan"
    arguments: list[Any] | dict[str, Any] | None = Field(
        None,
        description="what its constructor is called with instead of the message; a mapping with an"
        " `exception` in it is one, with a message or arguments of its own",
    )

    def action(self) -> Action:
        """Raise."""
        return Action.error(self.exception, self.message, self.arguments)


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
