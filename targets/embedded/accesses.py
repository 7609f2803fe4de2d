"""Where the services of the reference touch what they share: databases, queues and locks.

All SQL goes through three functions of SQLAlchemy, and its text says which tables it reads and
writes. A table stands for all its rows, and the tables of one name for one another where cells are
concerned: two steps that touch different rows count as touching the same, which costs an order that
need not be run and hides none. What a service keeps in memory is behind a lock of
:mod:`targets.reference.nova.locks`, or follows a table that is written along with it (the resource
tracker and ``compute_nodes``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from chaos.point import Access, AccessPoint, Point

EVERYTHING = "database/*"
"""Read by every statement on a table; written by a statement that nobody here understands."""

_TABLE = r'(?:["`]?\w+["`]?\.)?["`]?(\w+)["`]?'
_READ = re.compile(rf"\b(?:FROM|JOIN)\s+{_TABLE}", re.IGNORECASE)
_WRITTEN = re.compile(
    rf"^(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+{_TABLE}",
    re.IGNORECASE,
)
_MORE = re.compile(rf"\b(?:FROM|JOIN)\s+{_TABLE}(?:\s+AS)?(?:\s+\w+)?\s*,", re.IGNORECASE)
_TOUCHES_NO_ROW = re.compile(
    r"^(?:BEGIN|COMMIT|ROLLBACK|PRAGMA\s+(?:main\.|temp\.)?table_x?info"
    r"|SELECT pg_advisory_xact_lock)\b",
    re.IGNORECASE,
)
_TEXT = re.compile(r"'(?:[^']|'')*'")


def tables(statement: str) -> tuple[frozenset[str], frozenset[str]] | None:
    """Name the tables that a statement reads and those that it writes; None: that is not clear.

    >>> tables("UPDATE volumes SET status=? WHERE id IN (SELECT volume FROM disks)")
    (frozenset({'disks'}), frozenset({'volumes'}))
    """
    # What stands in quotes is no SQL.
    text = _TEXT.sub("''", statement.strip())
    if _TOUCHES_NO_ROW.match(text):
        return frozenset(), frozenset()
    written = _WRITTEN.match(text)
    if written is None and not text.upper().startswith("SELECT"):
        return None
    if ";" in text.rstrip(";") or _MORE.search(text):
        return None
    writes = {written[1]} if written else set()
    reads = {*_READ.findall(text)} - writes
    if not reads | writes:
        return None
    return frozenset(reads), frozenset(writes)


def of_statement(service: str, told: Mapping[str, str]) -> Iterator[Access]:
    """The accesses of one statement: ``volumes`` is a table of one database, whoever asks."""
    found = tables(told["statement"])
    if found is None:
        yield Access(EVERYTHING, writes=True)
        return
    reads, writes = found
    if reads or writes:
        yield Access(EVERYTHING, writes=False)
    for table in sorted(reads):
        yield Access(_home(service, table), writes=False)
    for table in sorted(writes):
        yield Access(_home(service, table), writes=True)


def of_message(service: str, told: Mapping[str, str]) -> Iterator[Access]:
    """Messages of one queue are taken in the order in which they came."""
    yield Access(f"bus/{told['queue']}", writes=True)


def of_lock(service: str, told: Mapping[str, str]) -> Iterator[Access]:
    """A lock is one of its process."""
    yield Access(f"lock/{service}/{told['name']}", writes=True)


def _home(service: str, table: str) -> str:
    """Tell the hypervisors' tables apart: each has a database to which nobody else goes."""
    place = service if service.startswith("hypervisor-") else "database"
    return f"{place}/{table}"


def _sql(function: str) -> AccessPoint:
    point = Point(f"sqlalchemy.engine.default:DefaultDialect.{function}")
    return AccessPoint(point, ("statement",), of_statement)


ACCESSES = (
    _sql("do_execute"),
    _sql("do_executemany"),
    _sql("do_execute_no_params"),
    AccessPoint(Point("targets.reference.bus.client:Bus.publish"), ("queue",), of_message),
    AccessPoint(Point("targets.reference.bus.client:Bus.call"), ("queue",), of_message),
    AccessPoint(Point("targets.reference.nova.locks:Locks._of"), ("name",), of_lock),
)
"""For :attr:`chaos.target.Target.accesses`."""
