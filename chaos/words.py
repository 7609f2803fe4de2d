"""Marks on arguments that name something, so that every name is looked up before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MARK = "x-word"
"""Key under which the JSON Schema of what is marked has the kind."""


class Named(StrEnum):
    """Kinds of name that the framework itself knows; every other kind is a target's own."""

    POINT = "point"
    SERVICE = "service"
    """A shell pattern over service names."""
    LINK = "link"
    """A shell pattern over the names of links, ``SOURCE>SERVICE``."""
    ACTOR = "actor"
    """The ``as`` label of a step in ``during``."""
    STEP = "step"
    """The label or the operation of a step in ``during``."""


@dataclass(frozen=True, slots=True)
class Word:
    """Says what an argument names: ``server: Annotated[str, Word("server")]``.

    ``kind`` is one of :class:`Named`, or a kind of thing that steps make: then an earlier step must
    have made what is named. The argument that gives a new thing its name is marked with ``makes``.

    >>> Word("server", makes=True).kind
    'server'
    """

    kind: str
    makes: bool = False

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Keep the kind in the JSON Schema, where a vocabulary can look up the words."""
        return {**handler(schema), MARK: str(self.kind)}
