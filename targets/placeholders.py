"""Placeholders in the texts of a topology: ``{run_dir}``, ``{bugs}``, ``{port:NAME}``, and others.

``{link:SOURCE>NAME}`` is the ``host:port`` by which SOURCE, a service or ``client``, reaches what
listens on the port NAME: on a way of its own where the links of the target can be disturbed.

A brace that is meant is written twice, as in :meth:`str.format`::

    >>> fill('{{"web": {port:web}}}', {"{port:web}": "8080"})
    '{"web": 8080}'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from chaos.errors import TargetError, nearest

RUN_DIR = "{run_dir}"
BUGS = "{bugs}"
PYTHON = "{python}"
TARGET_DIR = "{target_dir}"

PLAIN = (RUN_DIR, BUGS, PYTHON, TARGET_DIR)
"""Those that stand for one thing."""

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_PORT = re.compile(r"\{port:([\w.-]+)\}")
_LINK = re.compile(r"\{link:([\w.-]+)>([\w.-]+)\}")


def port(name: str) -> str:
    """The placeholder for the port of that name."""
    return f"{{port:{name}}}"


def ports(text: str) -> Iterator[str]:
    """The names of all ports that a text mentions."""
    for braces in _BRACES.findall(text):
        if found := _PORT.fullmatch(braces):
            yield found[1]


def link(source: str, name: str) -> str:
    """The placeholder for the way of ``source`` to the port ``name``."""
    return f"{{link:{source}>{name}}}"


def links(text: str) -> Iterator[tuple[str, str]]:
    """The source and the port's name of all links that a text mentions."""
    for braces in _BRACES.findall(text):
        if found := _LINK.fullmatch(braces):
            yield found[1], found[2]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the values of placeholders, braces included, in their places.

    Raises:
        TargetError: the text holds one that has no value, or a brace that stands alone.
    """

    def value(match: re.Match[str]) -> str:
        braces = match[0]
        if braces in ("{{", "}}"):
            return braces[0]
        if braces not in values:
            raise TargetError(
                f"`{braces}` in {text!r} is no placeholder: {nearest(braces, values)}"
                " (a brace that is meant is written twice)"
            )
        return values[braces]

    return _BRACES.sub(value, text)
