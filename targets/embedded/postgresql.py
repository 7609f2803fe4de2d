"""Looks at the databases of the control plane in PostgreSQL, keeps moments, brings them back.

They are schemas of one database, so that one snapshot (REPEATABLE READ) has all of them as of one
moment: nobody need look twice, and it does not matter who writes meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.types.string import TextLoader
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from targets.cloud.world import CloudWorld
from targets.embedded.observer import read

R = TypeVar("R")
_VERSION = "SELECT pg_current_snapshot()::text"
_TABLES = """
    SELECT schemaname, tablename FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
"""
_CONSTRAINTS = """
    SELECT n.nspname, c.relname, o.conname, pg_get_constraintdef(o.oid)
    FROM pg_constraint o JOIN pg_class c ON o.conrelid = c.oid
    JOIN pg_namespace n ON c.relnamespace = n.oid
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3
"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"


class Connection:
    """A superuser's connection to the databases; safe for several threads.

    It connects at first use, and again when the server was started anew.
    """

    def __init__(self, address: str, patience_s: float = 10.0) -> None:
        self._address = address
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._open: psycopg.Connection[Any] | None = None

    def do(self, work: Callable[[psycopg.Cursor[Any]], R], *, reading: bool) -> R:
        """Do ``work`` in a transaction of its own; again when the server dies meanwhile.

        Raises:
            psycopg.OperationalError: the server is away for too long.
        """
        patient = Retrying(
            retry=retry_if_exception_type(psycopg.OperationalError),
            stop=stop_after_delay(self._patience_s),
            wait=wait_fixed(0.05),
            reraise=True,
        )
        with self._lock:
            found: R = patient(self._do, work, reading)
            return found

    def _do(self, work: Callable[[psycopg.Cursor[Any]], R], reading: bool) -> R:
        connection = self._connected()
        try:
            connection.read_only = reading
            with connection.transaction(), connection.cursor() as cursor:
                return work(cursor)
        except psycopg.OperationalError:
            connection.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if self._open is not None:
                self._open.close()
            self._open = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._open is None or self._open.closed:
            self._open = psycopg.connect(self._address, connect_timeout=5)
            self._open.isolation_level = IsolationLevel.REPEATABLE_READ
            self._open.adapters.register_loader("json", TextLoader)  # as it was written
        return self._open


class Observer:
    """What :class:`targets.embedded.observer.Observer` is for SQLite."""

    def __init__(
        self, connection: Connection, cells: tuple[str, ...], hosts: tuple[str, ...]
    ) -> None:
        self._connection = connection
        self._cells, self._hosts = cells, hosts
        self._last: tuple[str, CloudWorld] | None = None
        """What was found last, and in which snapshot."""

    def world(self) -> CloudWorld:
        """Read all that a user of the cloud, or its operator, could find at one moment."""
        return self._connection.do(self._look, reading=True)

    def _look(self, cursor: psycopg.Cursor[Any]) -> CloudWorld:
        # Names whose commits can be seen and whose not: where it is the same, all is the same.
        (version,) = _rows(cursor, _VERSION)[0]
        if self._last is None or self._last[0] != version:

            def look(database: str, query: str) -> Iterable[tuple[Any, ...]]:
                schema = sql.Identifier(database)
                cursor.execute(sql.SQL("SET LOCAL search_path = {}").format(schema))
                return _rows(cursor, query)

            self._last = version, read(look, self._cells, self._hosts)
        return self._last[1]

    def close(self) -> None:
        """Close nothing: the connection is not this one's own."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What each table held at one time, as JSON, and how far each sequence had come.

    ``constraints`` are the definitions by schema, table and name: a bug switch may drop one.
    """

    tables: Mapping[tuple[str, str], str | None]
    sequences: Mapping[tuple[str, str], int | None]
    constraints: Mapping[tuple[str, str, str], str]


class Pristine:
    """What :class:`targets.embedded.pristine.Pristine` is for SQLite.

    Only tables that hold something else are written to. ``CREATE DATABASE … TEMPLATE`` would end
    the connections of every service, and takes ten times as long; so would TRUNCATE.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        tables = connection.do(lambda cursor: _rows(cursor, _TABLES), reading=True)
        self._query = _look_at(tables)
        self._first = self.keep()

    def keep(self) -> Moment:
        """Keep what the tables hold now."""
        return self._connection.do(self._read, reading=True)

    def restore(self, moment: Moment | None = None) -> None:
        """Bring back what was there at ``moment``; by default, when this was made."""
        wanted = moment or self._first
        self._connection.do(lambda cursor: self._write(cursor, wanted), reading=False)

    def _write(self, cursor: psycopg.Cursor[Any], wanted: Moment) -> None:
        now = self._read(cursor)
        cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
        for name, rows in wanted.tables.items():
            if now.tables[name] != rows:
                table = sql.Identifier(*name)
                cursor.execute(sql.SQL("DELETE FROM {}").format(table))
                if rows is not None:
                    again = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, %s)"
                    cursor.execute(sql.SQL(again).format(table), (rows,))
        for key in wanted.constraints.keys() - now.constraints.keys():
            schema, of, constraint = key
            add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} " + wanted.constraints[key])
            names = sql.Identifier(schema, of), sql.Identifier(constraint)
            cursor.execute(add.format(*names))
        for name, last in wanted.sequences.items():
            if now.sequences[name] != last:
                sequence = sql.Identifier(*name).as_string()
                values = sequence, 1 if last is None else last, last is not None
                cursor.execute("SELECT setval(%s, %s, %s)", values)

    def close(self) -> None:
        """Close nothing: the connection is not this one's own."""

    def _read(self, cursor: psycopg.Cursor[Any]) -> Moment:
        tables = {(schema, table): rows for schema, table, rows in cursor.execute(self._query)}
        found = _rows(cursor, _SEQUENCES)
        constraints = {(s, t, name): text for s, t, name, text in _rows(cursor, _CONSTRAINTS)}
        return Moment(tables, {(schema, name): last for schema, name, last in found}, constraints)


def _look_at(tables: Iterable[tuple[str, str]]) -> sql.Composed:
    """The one query for all tables; as JSON, of which PostgreSQL makes rows again by itself."""
    looks = (
        sql.SQL("SELECT {}, {}, (SELECT json_agg(t)::text FROM {} t)").format(
            sql.Literal(schema), sql.Literal(table), sql.Identifier(schema, table)
        )
        for schema, table in tables
    )
    return sql.SQL(" UNION ALL ").join(looks)


def _rows(cursor: psycopg.Cursor[Any], query: str) -> list[tuple[Any, ...]]:
    return cursor.execute(query.encode()).fetchall()
