"""What an agent can do at a point that is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


class Action:
    """What an agent does at a point that is reached."""

    word: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Crash(Action):
    """SIGKILL the process, after the hit was recorded."""

    word: ClassVar[str] = "crash"


@dataclass(frozen=True, slots=True)
class Pause(Action):
    """Hold the actor, a thread or a coroutine, until released or for ``limit_s`` seconds."""

    limit_s: float = 30.0
    word: ClassVar[str] = "pause"


@dataclass(frozen=True, slots=True)
class Delay(Action):
    """Hold the actor for ``seconds``."""

    seconds: float
    word: ClassVar[str] = "delay"


@dataclass(frozen=True, slots=True)
class Raise(Action):
    """Raise ``exception`` (``module:Class``, or the name of a builtin) in the caller."""

    exception: str
    message: str
    word: ClassVar[str] = "raise"


@dataclass(frozen=True, slots=True)
class Return(Action):
    """Return a JSON value: instead of calling (before), or instead of the result (after)."""

    value: Any
    word: ClassVar[str] = "return"


@dataclass(frozen=True, slots=True)
class Duplicate(Action):
    """Call twice; the second result counts."""

    word: ClassVar[str] = "duplicate"


@dataclass(frozen=True, slots=True)
class Drop(Action):
    """Return None: the call is lost (before), or its answer is (after)."""

    word: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True)
class Record(Action):
    """Report only."""

    word: ClassVar[str] = "record"
