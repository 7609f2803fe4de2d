"""The catalogue of what a user of a compute cloud does, and the words of its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

from chaos.operation import Operations, Scope
from chaos.words import Word
from targets.cloud.client import acting_as

Server = Annotated[str, Word("server")]
NewServer = Annotated[str, Word("server", makes=True)]
Volume = Annotated[str, Word("volume")]
NewVolume = Annotated[str, Word("volume", makes=True)]
Image = Annotated[str, Word("image")]
NewImage = Annotated[str, Word("image", makes=True)]

OPERATIONS = Operations()


def operation(
    name: str, *, asserts: bool = False, strikes: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function, run on behalf of its scope's actor."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(scope: Scope, *positional: Any, **arguments: Any) -> Any:
            with acting_as(scope.request_id, scope.deadline_s):
                return function(scope, *positional, **arguments)

        return OPERATIONS.named(name, asserts=asserts, strikes=strikes)(run)

    return register
