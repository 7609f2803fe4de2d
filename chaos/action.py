"""What an agent does at a point that is reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["process", "service"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do at a point: its ``word``, and ``arguments`` of JSON values.

    >>> Action.delay(0.3).word
    'delay'
    """

    word: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def crash(cls, scope: Scope = "process") -> Action:
        """SIGKILL the process, or its service's whole process group, after the hit was recorded.

        A service that leads no process group of its own is not struck.
        """
        return cls("crash", {"scope": scope})

    @classmethod
    def pause(cls, limit_s: float = 30.0) -> Action:
        """Hold the actor, a thread or a coroutine, until released or for ``limit_s`` seconds."""
        return cls("pause", {"limit_s": limit_s})

    @classmethod
    def delay(cls, seconds: float) -> Action:
        """Hold the actor for ``seconds``."""
        return cls("delay", {"limit_s": seconds})

    @classmethod
    def error(
        cls,
        exception: str,
        message: str = "",
        arguments: Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> Action:
        """Raise ``exception`` (``module:Class``, or the name of a builtin) in the caller.

        It is made of the ``message``, or of the ``arguments``: JSON values, where a mapping with an
        ``exception`` describes one in turn. Where it turns out only when the point is reached that
        there is no such class, or that it cannot be made, the call goes on as if nothing were armed
        and that is no hit.
        """
        return cls("raise", {"exception": exception, "message": message, "arguments": arguments})

    @classmethod
    def answer(cls, value: Any) -> Action:
        """Return a JSON value: instead of calling (before), or instead of the result (after)."""
        return cls("return", {"value": value})

    @classmethod
    def drop(cls) -> Action:
        """Return None: the call is lost (before), or its answer is (after)."""
        return cls("drop")

    @classmethod
    def duplicate(cls) -> Action:
        """Call twice; the second result counts."""
        return cls("duplicate")

    @classmethod
    def record(cls, tell: Iterable[str] = ()) -> Action:
        """Report only; with the values of the call's arguments named in ``tell``.

        As text, at most 20,000 characters each; what the call has no argument for is left out.
        """
        return cls("record", {"tell": list(tell)} if tell else {})
