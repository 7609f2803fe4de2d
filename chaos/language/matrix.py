"""One document, many cases: ``matrix`` and the ``<name>`` that stand for its values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from chaos.errors import nearest
from chaos.language.problem import Path, Problem

MATRIX, CASE = "matrix", "case"
MOST_CASES = 10_000
MOST_CHARACTERS = 32_000_000
"""How large all cases of a document may be together, as JSON."""
PLACEHOLDER = "<([A-Za-z_][A-Za-z0-9_-]*)>"

_PLACEHOLDER = re.compile(PLACEHOLDER)


class NoMatrix(Exception):
    """The matrix of a document cannot be read; ``problems`` say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Use:
    """One ``<name>`` in a document; ``alone`` when it is the whole value."""

    name: str
    path: Path
    alone: bool


def expand(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each case of a document, as a document without a matrix.

    >>> one, two = expand({"matrix": {"n": [1, 2]}, "title": "<n> times", "repeat": "<n>"})
    >>> two
    {'title': '2 times', 'repeat': 2, 'case': '2'}

    Raises:
        NoMatrix: it is no matrix, is too large, or does not fit what the document uses of it.
    """
    if MATRIX not in document:
        yield dict(document)
        return
    template = {key: value for key, value in document.items() if key != MATRIX}
    if CASE in template:
        raise NoMatrix(Problem((CASE,), "the matrix names the cases; leave `case` out"))
    rows = _rows(document[MATRIX])
    uses = list(_uses(template, ()))
    _check_uses(uses, rows)
    _check_size(template, uses, rows)
    names: set[str] = set()
    for row in rows:
        name = ", ".join(map(_text, row.values()))
        if name in names:
            raise NoMatrix(Problem((MATRIX,), f"the matrix has two cases `{name}`"))
        names.add(name)
        yield {**_filled(template, row), CASE: name}


def _rows(matrix: Any) -> list[dict[str, Any]]:
    """The values of each case, by name."""
    if isinstance(matrix, Mapping) and matrix:
        for name, values in matrix.items():
            _check_name(name, (MATRIX, name))
            if not isinstance(values, list) or not values:
                raise NoMatrix(
                    Problem((MATRIX, name), f"`{name}` must be a list of values, such as `[a, b]`")
                )
        _check_count(prod(map(len, matrix.values())))
        return [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())]
    if isinstance(matrix, list) and matrix:
        _check_count(len(matrix))
        for index, row in enumerate(matrix):
            if not isinstance(row, Mapping) or not row or row.keys() != matrix[0].keys():
                names = ", ".join(matrix[0]) if isinstance(matrix[0], Mapping) else ""
                same = f" with the values of {names}" if names else ", such as `{point: a}`"
                raise NoMatrix(Problem((MATRIX, index), f"a case must be a mapping{same}"))
            for name in row:
                _check_name(name, (MATRIX, index, name))
        return [{name: row[name] for name in matrix[0]} for row in matrix]
    raise NoMatrix(
        Problem(
            (MATRIX,),
            "`matrix` must be a mapping of lists, such as `{point: [a, b]}`, or a list of cases",
        )
    )


def _check_name(name: str, path: Path) -> None:
    if not _PLACEHOLDER.fullmatch(f"<{name}>"):
        raise NoMatrix(
            Problem(path, f"`{name}` cannot be written as `<name>`: letters, 0-9, _ and -")
        )


def _check_count(count: int) -> None:
    if count > MOST_CASES:
        raise NoMatrix(Problem((MATRIX,), f"{count} cases; at most {MOST_CASES} are allowed"))


def _uses(node: Any, path: Path) -> Iterator[Use]:
    if isinstance(node, str):
        for match in _PLACEHOLDER.finditer(node):
            yield Use(match[1], path, alone=match[0] == node)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _uses(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _uses(value, (*path, index))


def _check_uses(uses: list[Use], rows: list[dict[str, Any]]) -> None:
    """Every name is known and used, and only what is written in one word stands inside a text."""
    known = rows[0].keys()
    problems = [
        Problem(use.path, f"the matrix has no `{use.name}`; {nearest(use.name, known)}")
        for use in uses
        if use.name not in known
    ]
    used = {use.name for use in uses}
    problems += [
        Problem(
            (MATRIX, name),
            f"`<{name}>` stands nowhere in the plan, where a value or a part of one may stand",
        )
        for name in known
        if name not in used
    ]
    compound = {n for row in rows for n, value in row.items() if isinstance(value, dict | list)}
    problems += [
        Problem(use.path, f"`<{use.name}>` is not always one word, and must stand here alone")
        for use in uses
        if use.name in compound and not use.alone
    ]
    if problems:
        raise NoMatrix(*problems)


def _check_size(template: Any, uses: list[Use], rows: list[dict[str, Any]]) -> None:
    """Nothing has been made yet: what is too large is found before it takes memory."""
    times = Counter(use.name for use in uses)
    sizes: dict[int, int] = {}  # the rows of a product share their values

    def size(value: Any) -> int:
        if id(value) not in sizes:
            sizes[id(value)] = len(json.dumps(value))
        return sizes[id(value)]

    total = sum(
        size(template) + sum(times[name] * size(value) for name, value in row.items())
        for row in rows
    )
    if total > MOST_CHARACTERS:
        raise NoMatrix(
            Problem((MATRIX,), f"the cases are larger than {MOST_CHARACTERS} characters together")
        )


def _filled(node: Any, row: Mapping[str, Any]) -> Any:
    if isinstance(node, str):
        alone = _PLACEHOLDER.fullmatch(node)
        if alone:
            return row[alone[1]]
        return _PLACEHOLDER.sub(lambda match: _text(row[match[1]]), node)
    if isinstance(node, Mapping):
        return {key: _filled(value, row) for key, value in node.items()}
    return [_filled(value, row) for value in node] if isinstance(node, list) else node


def _text(value: Any) -> str:
    """A value as YAML writes it."""
    if isinstance(value, Mapping):  # {before: instance.save, occurrence: 2}, as one would say it
        return " ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
