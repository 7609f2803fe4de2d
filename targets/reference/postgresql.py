"""What a service's database needs on PostgreSQL; on SQLite it has the same for nothing.

The URL names a server's database, and in it a schema for each database of ours::

    postgresql+psycopg://user@host/reference?options=-csearch_path%3D{name}

Schemas of one database, as an observer can then read all of them in one snapshot.

**Isolation.** Writers of a schema take its advisory lock first and then run READ COMMITTED: each
statement sees all that was committed before, nobody commits in between, and what holds on SQLite
(``BEGIN IMMEDIATE``) holds here. Nothing can be broken off as a serialization failure or a deadlock
and need be done again, which a block with effects of its own could not. Readers see one snapshot
(REPEATABLE READ) and wait for nobody.

**Lost connections.** Up to the beginning of a block nothing has happened, so that is tried again
until the server is back, for as long as a writer waits for another. A connection that is lost
inside of the block, its COMMIT included, is an error of the request: whether it was carried out is
not known to anybody here, and rule 4 (everything can be done twice) is what makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

PATIENCE_S = 10.0
"""How long somebody waits for the server to come back, or for other writers."""
CONNECT_S = 5
STANDSTILL_S = 5
"""A transaction of whoever stands still for so long is undone: he holds up all writers."""
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""What readers ask of their connections."""
LOCK = "SELECT pg_advisory_xact_lock(hashtext(current_setting('search_path')))"
_SETTINGS = {
    "lock_timeout": f"{PATIENCE_S:g}s",
    "idle_in_transaction_session_timeout": f"{STANDSTILL_S}s",
    "jit": "off",
}


def engine(url: URL) -> Engine:
    """Return what writers begin at; the URL's ``options`` go before ours."""
    ours = " ".join(f"-c{name}={value}" for name, value in _SETTINGS.items())
    given = url.query.get("options", "")
    options = " ".join((ours, given if isinstance(given, str) else " ".join(given)))
    found = create_engine(
        url.update_query_dict({"options": options}),
        pool_size=8,
        max_overflow=-1,
        pool_pre_ping=True,  # the server may have been started anew since
        isolation_level="READ COMMITTED",
        connect_args={"connect_timeout": CONNECT_S},
    )

    @event.listens_for(found, "begin")
    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("reading"):
            connection.exec_driver_sql(LOCK)

    return found


@contextmanager
def begun(where: Engine) -> Iterator[Connection]:
    """Be inside a transaction for the length of the block.

    Raises:
        OperationalError: the server is away for too long, or went away inside the block.
    """
    patient = Retrying(
        retry=retry_if_exception_type((OperationalError, InterfaceError)),
        stop=stop_after_delay(PATIENCE_S),
        wait=wait_exponential(multiplier=0.02, max=0.5),
        reraise=True,
    )
    with patient(_begin, where) as connection:
        yield connection
        if not connection.get_execution_options().get("reading"):
            commit(connection)


def commit(connection: Connection) -> None:
    """Have all that was written in a block be there for everybody."""
    connection.commit()


def _begin(where: Engine) -> Connection:
    connection = where.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


def create_schema(connection: Connection) -> None:
    """Make the schema that the URL names, unless it is there."""
    if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:
        (name,) = connection.exec_driver_sql("SHOW search_path").one()
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
