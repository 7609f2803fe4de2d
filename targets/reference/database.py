"""A service's own database, through SQLAlchemy Core.

That is an SQLite file, or a schema of PostgreSQL (:mod:`.postgresql`).

Transactions are short: none may span a call to another service or a point where a fault can hold
the thread, or one held request would hold all writers.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    select,
)
from sqlalchemy.engine import make_url

from targets.reference import config

BUSY_TIMEOUT_MS = 10_000


def utc_now() -> str:
    """Return the time in the form in which all services keep and show it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Database:
    """One database and its connections, for any number of threads."""

    def __init__(self, url: str | URL) -> None:
        where = make_url(url)
        self._begin: Callable[[Engine], AbstractContextManager[Connection]] = Engine.begin
        self._make_room: Callable[[Connection], None] = lambda _: None
        reading: dict[str, Any] = {"reading": True}
        if where.get_backend_name() == "sqlite":
            self.engine = _sqlite(where)
        else:
            from targets.reference import postgresql  # its driver is needed nowhere else

            self.engine = postgresql.engine(where)
            reading |= postgresql.READING
            self._begin = postgresql.begun
            self._make_room = postgresql.create_schema
        self._reader = self.engine.execution_options(**reading)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Read and write as one step: committed at the end of the block, undone by an exception.

        Writers of one database do it one after the other, so that a block is never run twice.
        """
        with self._begin(self.engine) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read one consistent state, without waiting for writers."""
        with self._begin(self._reader) as connection:
            yield connection

    def create(self, metadata: MetaData) -> None:
        """Create the tables that do not exist yet."""
        with self.transaction() as connection:
            self._make_room(connection)
            metadata.create_all(connection)


def open_database(name: str, metadata: MetaData) -> Database:
    """Open this service's database ``name`` (see :class:`~.config.Config`), creating its tables."""
    database = Database(config.current().database_url(name))
    database.create(metadata)
    return database


def matching(
    table: Table, equal: Mapping[str, object], *order: str
) -> tuple[Select[Any], dict[str, object]]:
    """Return a query for the rows whose columns have these values, and its parameters.

    The query is made once for each kind of question: to make it takes longer than to run it.
    """
    given = {name: value for name, value in equal.items() if value is not None}
    return _matching(table, tuple(equal), tuple(given), order), given


@cache
def _matching(
    table: Table, names: tuple[str, ...], given: tuple[str, ...], order: tuple[str, ...]
) -> Select[Any]:
    column = table.c
    conditions = [column[n] == bindparam(n) if n in given else column[n].is_(None) for n in names]
    return select(table).where(*conditions).order_by(*(column[name] for name in order))


def _sqlite(url: URL) -> Engine:
    _use_write_ahead_log(Path(url.database or ""))
    engine = create_engine(url, pool_size=8, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        # What a killed process wrote is in the kernel already; only a power cut could lose it.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that began as a reader could not wait for another writer: SQLite would have to
        # break its snapshot, and answers "database is locked" at once.
        reading = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _use_write_ahead_log(file: Path) -> None:
    """Let readers and a writer work side by side in ``file``, for good."""
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        # One process at a time: of two that change the mode SQLite fails one, without waiting.
        fcntl.flock(directory, fcntl.LOCK_EX)
        with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    finally:
        os.close(directory)
