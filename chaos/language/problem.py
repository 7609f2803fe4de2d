"""What is wrong in a plan, in sentences, each with its place."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from chaos.errors import nearest
from chaos.plan import ON_SERVICE, REACH

Path = tuple[str | int, ...]
"""Where something stands in a plan's YAML shape: keys, and places in lists from 0."""

WRITTEN: Mapping[str | int, tuple[str, ...]] = {
    "name": ("plan",),
    "phase": ("in",),
    "label": ("as",),
    "steps": ("together",),
    "point": ("before", "after"),
    "arguments": ("do",),
}
"""Field of the model → the keys under which YAML has it, where they differ."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a plan; ``path`` leads to it in the plan's YAML shape."""

    path: Path
    message: str


def in_plan(error: ValidationError, fields: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """What pydantic found in a plan; ``fields`` has the right names by where they belong.

    A place is called after the keys that lead to it, without numbers: ``inject.at``.
    """
    for item in _telling(error):
        place = tuple(item["loc"])
        parent = ".".join(part for part in place[:-1] if isinstance(part, str))
        yield Problem(place, _sentence(place, [item], fields.get(parent, ()), ""))


def in_arguments(
    error: ValidationError, given: Mapping[str, Any], fields: Sequence[str], owner: str
) -> Iterator[Problem]:
    """What pydantic found in the arguments of ``owner``, an operation or a fault; one a place."""
    places: dict[Path, list[Mapping[str, Any]]] = {}
    for item in _telling(error):
        keep = item["type"] == "missing" and len(item["loc"]) == 1
        place = tuple(item["loc"]) if keep else _place(item["loc"], given)
        places.setdefault(place, []).append(item)
    for place, items in places.items():
        yield Problem(place, _sentence(place, items, fields, owner))


def _telling(error: ValidationError) -> list[Mapping[str, Any]]:
    """The errors that say something: a misspelt field is also a missing one, which does not."""
    every: list[Mapping[str, Any]] = [*error.errors()]
    telling = [item for item in every if item["type"] not in {"missing", "too_short"}]
    return telling or every


def _place(location: Sequence[str | int], given: Any) -> Path:
    """As much of pydantic's location as leads through ``given``: the rest is types of a union."""
    place: list[str | int] = []
    for part in location:
        keys: Container[Any] = given if isinstance(given, Mapping) else ()
        if isinstance(given, list | tuple):
            keys = range(len(given))
        if part not in keys:
            break
        given = given[part]
        place.append(part)
    return tuple(place)


def _sentence(
    place: Path, items: Sequence[Mapping[str, Any]], fields: Sequence[str], owner: str
) -> str:
    """The errors of one place, as one sentence."""
    names = [part for part in place if isinstance(part, str)]
    word = names[-1] if names else ""
    if owner in (REACH, *ON_SERVICE):
        word = owner  # they have one argument, and no name for it
    elif not owner:
        word = WRITTEN.get(word, (word,))[0]
    kind = items[0]["type"]
    if kind == "extra_forbidden":
        lacks = f"`{owner}` has no argument" if owner else "there is no field"
        return f"{lacks} `{word}`" + (f"; {nearest(word, fields)}" if fields else "")
    if kind == "missing":
        return (
            f"`{owner}` needs the argument `{word}`" if owner else f"the field `{word}` is missing"
        )
    if kind == "too_short":
        least = items[0].get("ctx", {}).get("min_length", 1)
        return f"`{word}` must " + ("not be empty" if least == 1 else f"have at least {least}")
    wants = " or ".join(dict.fromkeys(map(_wants, items))).replace(" or must be ", " or ")
    unlike = f", not `{_shown(items[0]['input'])}`" if wants.startswith("must") else ""
    if names[-1:] == ["arguments"]:
        return f"the arguments {wants}{unlike}"
    return f"`{word}`: {wants}{unlike}" if word else f"{wants}{unlike}"


def _wants(item: Mapping[str, Any]) -> str:
    told = str(item["msg"]).removeprefix("Value error, ")  # of a validator of our own
    return _SHAPES.get(item["type"]) or told.replace("Input should be", "must be", 1)


_SHAPES = {
    "bool_type": "must be `true` or `false`",
    "dict_type": "must be a mapping, such as `{name: value}`",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "list_type": "must be a list, such as `[…]` or lines that start with `-`",
    "model_type": "must be a mapping, such as `{name: value}`",
    "string_pattern_mismatch": "may have only a-z, 0-9 and `-`, as in `kill-compute-mid-reboot`",
    "string_type": "must be a word",
    "tuple_type": "must be a list, such as `[…]` or lines that start with `-`",
}
"""Kind of pydantic's error → what it says to who writes YAML."""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        text = value
    return text if len(text) <= 40 else f"{text[:39]}…"
