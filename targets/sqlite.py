"""What an observer reads from a database of SQLite.

Whoever looks waits for a writer, and changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from chaos.world import World

R = TypeVar("R")
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"


def rows(database: Path, query: str, make: Callable[..., R]) -> tuple[R, ...]:
    """What ``query`` finds, each row made into a value: ``rows(file, "SELECT …", Account)``.

    Raises:
        sqlite3.Error: there is no such file, it is no database, or the query is wrong.
    """
    with _looking(database) as execute:
        return tuple(make(*row) for row in execute(query))


def world(database: Path) -> Any:
    """Every table as of one moment: a world whose fields and rows are called as in the database.

    A row's ``key`` is its primary key. A target whose world is to have types, or only some of the
    tables, uses :func:`rows`.

    Raises:
        sqlite3.Error: there is no such file, or it is no database.
    """
    with _looking(database) as execute:
        tables = {}
        for (table,) in execute(_TABLES).fetchall():
            columns = execute(f'PRAGMA table_info("{table}")').fetchall()
            make = _row(table, *((name, bool(primary)) for _, name, *_, primary in columns))
            tables[table] = tuple(make(*row) for row in execute(f'SELECT * FROM "{table}"'))
    return _world(*tables)(**tables)


@contextmanager
def _looking(database: Path) -> Iterator[Callable[[str], sqlite3.Cursor]]:
    # Not read-only: after a writer was killed amid a commit, a reader must repair the log's index.
    address = f"{database.absolute().as_uri()}?mode=rw"  # quoted, or a `#` would be another file
    connection = sqlite3.connect(address, uri=True, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        yield connection.execute
    finally:
        connection.close()


@cache  # worlds are compared: the same tables must be the same types
def _row(table: str, *columns: tuple[str, bool]) -> type[Any]:
    names = [name for name, _ in columns]
    primary = [name for name, is_primary in columns if is_primary] or names

    def key(row: Any) -> str:
        return "/".join(str(getattr(row, name)) for name in primary)

    own = {} if "key" in names else {"key": property(key)}
    return make_dataclass(table, names, frozen=True, namespace=own)


@cache
def _world(*tables: str) -> type[World]:
    fields = [(table, tuple[Any, ...], ()) for table in tables]
    return make_dataclass("Tables", fields, bases=(World,), frozen=True)
