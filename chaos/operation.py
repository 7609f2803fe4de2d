"""What a client of the target can do, and what a plan may say of it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_type_hints

from chaos.errors import ChaosError

F = TypeVar("F", bound=Callable[..., Any])


class OperationFailed(ChaosError):
    """The target answered a client operation with a clear no; ``status`` is its code."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OperationIndeterminate(ChaosError):
    """The answer was lost (cut connection, time-out): it may or may not have happened."""


class ExpectationFailed(ChaosError):
    """An operation that asserts something found it otherwise."""


@dataclass(slots=True)
class Scope:
    """What one run of a plan knows: the things that it made, by the names the plan gave them.

    ``made`` maps a plan's name (``vm``) to the target's id; operations fill and read it.
    ``request_id`` identifies the actor whose operation this is; it travels with the request.
    An operation gives up after ``deadline_s`` seconds, and looks every ``poll_s`` where it waits:
    between two looks it calls ``sleep(poll_s)``, so that an actor of a race need not look while
    nothing has happened.
    """

    client: Any
    made: dict[str, str] = field(default_factory=dict)
    request_id: str = ""
    deadline_s: float = 10.0
    poll_s: float = 0.005
    sleep: Callable[[float], None] = time.sleep

    def actor(self, request_id: str) -> Scope:
        """The same scope on behalf of another actor; ``made`` is shared."""
        return replace(self, request_id=request_id)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a client can do: ``function(scope, **arguments)``.

    The function returns a short, JSON-able account of the answer (for the history), and raises
    :class:`OperationFailed`, :class:`OperationIndeterminate` or :class:`ExpectationFailed`. One
    that ``asserts`` only looks, and must get an answer: a lost one is a violation, where that of
    any other operation is merely indeterminate. One that ``strikes`` is no request: it does to the
    system what happens to one by itself, such as a guest that dies.
    """

    name: str
    function: Callable[..., Any]
    asserts: bool = False
    strikes: bool = False

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The arguments a plan may give, in order, without the scope."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])

    @property
    def types(self) -> dict[str, Any]:
        """The annotation of each argument, resolved, with its :class:`~chaos.words.Word` if any."""
        hints = get_type_hints(inspect.unwrap(self.function), include_extras=True)
        return {name: hints.get(name, Any) for name in self.parameters}


class Operations(dict[str, Operation]):
    """A catalogue of operations, filled by decorating functions.

    >>> operations = Operations()
    >>> @operations.named("ledger.deposit")
    ... def deposit(scope, amount: int): ...
    """

    def named(self, name: str, *, asserts: bool = False, strikes: bool = False) -> Callable[[F], F]:
        """Register the decorated function under ``name``."""

        def register(function: F) -> F:
            self[name] = Operation(name, function, asserts, strikes)
            return function

        return register
