"""The links that a text of a plan holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

LINK = re.compile(r"LP#(\d+)|https?://[^\s<>\"']+")
"""A bug of Launchpad (``LP#123``), or an address."""


def address(found: re.Match[str]) -> str:
    """Where a match of :data:`LINK` leads."""
    return f"https://bugs.launchpad.net/bugs/{found[1]}" if found[1] else found[0]


def links(text: str) -> Iterator[tuple[str, str]]:
    """The words and the address of each link in ``text``.

    >>> list(links("as in LP#2067869"))
    [('LP#2067869', 'https://bugs.launchpad.net/bugs/2067869')]
    """
    for found in LINK.finditer(text):
        yield found[0], address(found)
