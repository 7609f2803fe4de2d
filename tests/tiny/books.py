"""The one database, ``parcels.sqlite``: rows by key, in transactions.

All that desk and carrier share is touched by :meth:`Store.read`, ``write``, ``add`` and ``keys``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

FILE = "parcels.sqlite"
WAIT_S = 10.0
"""How long a transaction waits for another one."""

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE parcel
        (key TEXT PRIMARY KEY, size INT, place, owner, borrower, text);
    CREATE TABLE usage (key TEXT PRIMARY KEY, used INT);
    CREATE TABLE outbox (key TEXT PRIMARY KEY, request, parcel, target, begun INT);
"""


def make(run_dir: Path) -> None:
    """Make the database, empty."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for left in run_dir.glob(f"{FILE}*"):
        left.unlink()
    with closing(sqlite3.connect(run_dir / FILE)) as database:
        database.executescript(_SCHEMA)


class Refused(Exception):
    """A clear no; ``status`` is an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Store:
    """One connection to the database."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(FILE, timeout=WAIT_S, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA synchronous = OFF")

    def read(self, table: str, key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            f"SELECT * FROM {table} WHERE key = ?", (key,)
        ).fetchone()
        return row

    def write(self, table: str, key: str, **values: Any) -> None:
        """Insert or change a row; without values, delete it."""
        if not values:
            self._database.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
            return
        row = {"key": key, **values}
        self._database.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
            f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in row)}",
            list(row.values()),
        )

    def add(self, table: str, key: str, amount: int) -> None:
        """Add to what is used; who uses nothing has no row."""
        self._database.execute(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT DO UPDATE SET used = used + ?",
            (key, amount, amount),
        )
        self._database.execute(f"DELETE FROM {table} WHERE key = ? AND used = 0", (key,))

    def keys(self, table: str) -> list[str]:
        return [row["key"] for row in self._database.execute(f"SELECT key FROM {table} ORDER BY 1")]

    # ------------------------------------------------------------------ what is made of these

    def parcel(self, name: str) -> sqlite3.Row:
        row = self.read("parcel", name)
        if row is None:
            raise Refused(404, f"there is no parcel {name}")
        return row

    def place(self, name: str, to: str | None) -> None:
        """Put a parcel somewhere, or (None) into the carrier's hands, and keep the usage right."""
        parcel = self.parcel(name)
        self.write("parcel", name, place=to)
        self.take(parcel["place"], parcel["size"])
        self.give(to, parcel["size"])

    def take(self, place: str | None, size: int) -> None:
        if place is not None:
            self.add("usage", place, -size)

    def give(self, place: str | None, size: int) -> None:
        if place is not None:
            self.add("usage", place, size)

    @classmethod
    @contextmanager
    def transaction(cls) -> Iterator[Store]:
        """Everything in the block or nothing of it; no other transaction meanwhile."""
        with cls.by_itself() as store:
            store._database.execute("BEGIN IMMEDIATE")
            with store._database:
                yield store

    @classmethod
    @contextmanager
    def by_itself(cls) -> Iterator[Store]:
        """Each statement in the block is a transaction by itself."""
        store = cls()
        with closing(store._database):
            yield store
