"""What an observer reads from a database of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def rows(database: Path, query: str, make: Callable[..., R]) -> tuple[R, ...]:
    """What ``query`` finds, each row made into a value: ``rows(file, "SELECT …", Account)``.

    Waits for a writer, and changes nothing.

    Raises:
        sqlite3.Error: there is no such file, it is no database, or the query is wrong.
    """
    # Not read-only: after a writer was killed amid a commit, a reader must repair the log's index.
    address = f"{database.absolute().as_uri()}?mode=rw"  # quoted: a `#` would be another file
    with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
        connection.execute("PRAGMA query_only=ON")
        return tuple(make(*row) for row in connection.execute(query))
