"""A page of a listing: ``limit`` and ``marker``, and the link to the next page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from targets.reference.schema import read_query
from targets.reference.web import HttpError, Request

MOST = 1000
"""How many a page has when the client does not say, and at most."""
T = TypeVar("T")


def page(
    request: Request, found: Sequence[T], key: Callable[[T], str], path: str, name: str
) -> tuple[list[T], dict[str, Any]]:
    """Return one page, and the ``{name}_links`` that go along with it.

    ``key`` tells the id by which a marker names a record; ``path`` is the listing's own URL.

    Raises:
        HttpError: 400, the limit is no number, or nothing has the marker's id.
    """
    limit = read_query(request, "limit", _count, MOST)
    marker = request.query.get("marker")
    start = 0
    if marker is not None:
        ids = [key(record) for record in found]
        if marker not in ids:
            raise HttpError(400, f"marker [{marker}] not found")
        start = ids.index(marker) + 1
    most = min(limit or MOST, MOST)
    shown = list(found[start : start + most])
    if len(found) <= start + most or not shown:
        return shown, {}
    query = [(k, v) for k, v in request.query.multi_items() if k != "marker"]
    following = urlencode([*query, ("marker", key(shown[-1]))])
    return shown, {f"{name}_links": [{"rel": "next", "href": f"{path}?{following}"}]}


def _count(given: str) -> int:
    if not given.isdecimal() or not given.isascii() or len(given) > 10:
        raise ValueError(given)
    return int(given)
