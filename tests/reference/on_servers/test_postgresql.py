"""What a service relies on in its database holds on PostgreSQL too."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from chaos.operation import Scope
from targets.embedded.on_servers import OnServers
from targets.embedded.servers import DATABASE
from targets.reference.database import Database

LIMIT_S = 60.0
METADATA = sa.MetaData()
COUNTERS = sa.Table("counters", METADATA, sa.Column("value", sa.Integer, nullable=False))


@pytest.fixture
def counter(target: OnServers) -> Iterator[Database]:
    """A database of one row, in a schema of its own."""
    database = Database(target.database_url("counters"))
    database.create(METADATA)
    with database.transaction() as connection:
        connection.execute(COUNTERS.insert(), {"value": 0})
    yield database
    with database.transaction() as connection:
        connection.execute(sa.text("DROP SCHEMA counters CASCADE"))
    database.engine.dispose()


def value(counter: Database) -> int:
    with counter.read() as connection:
        return int(connection.scalar(sa.select(COUNTERS.c.value)) or 0)


def add_one(connection: sa.Connection) -> None:
    seen = connection.scalar(sa.select(COUNTERS.c.value))
    connection.execute(COUNTERS.update().values(value=(seen or 0) + 1))


def test_writers_wait_for_each_other_and_lose_no_update(counter: Database) -> None:
    def count() -> None:
        for _ in range(20):
            with counter.transaction() as connection:
                add_one(connection)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value(counter) == 80


def test_a_reader_waits_for_no_writer_and_sees_one_moment(counter: Database) -> None:
    with counter.read() as reader:
        before = reader.scalar(sa.select(COUNTERS.c.value))
        with counter.transaction() as writer:
            add_one(writer)
        assert reader.scalar(sa.select(COUNTERS.c.value)) == before == 0
    assert value(counter) == 1


def test_a_reader_cannot_write(counter: Database) -> None:
    with pytest.raises(DBAPIError, match="read-only"), counter.read() as reader:
        add_one(reader)


def test_a_block_that_fails_leaves_nothing(counter: Database) -> None:
    with pytest.raises(ZeroDivisionError), counter.transaction() as connection:  # noqa: PT012
        add_one(connection)
        raise ZeroDivisionError
    assert value(counter) == 0


def test_two_processes_that_make_the_same_schema_both_find_it(target: OnServers) -> None:
    databases = [Database(target.database_url("twice")) for _ in range(4)]
    threads = [threading.Thread(target=each.create, args=(METADATA,)) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with databases[0].transaction() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(COUNTERS)) == 0
        connection.execute(sa.text("DROP SCHEMA twice CASCADE"))
    for each in databases:
        each.engine.dispose()


def test_connections_outlive_a_server_that_is_killed_and_started(
    target: OnServers, counter: Database
) -> None:
    with counter.transaction() as connection:
        add_one(connection)
    target.services[DATABASE].kill()
    again = threading.Thread(target=target.services[DATABASE].start)
    again.start()

    with counter.transaction() as connection:  # waits until it is there
        add_one(connection)

    again.join()
    assert value(counter) == 2


def test_a_server_that_dies_inside_a_block_leaves_nothing_of_it(
    target: OnServers, counter: Database
) -> None:
    with pytest.raises(DBAPIError), counter.transaction() as connection:  # noqa: PT012
        add_one(connection)
        target.services[DATABASE].kill()
    target.services[DATABASE].start()

    assert value(counter) == 0


def test_a_kept_moment_is_brought_back_with_the_numbers_that_come_next(target: OnServers) -> None:
    target.reset(frozenset())
    scope = Scope(target.client(), deadline_s=LIMIT_S)

    def do(operation: str, **named: str) -> None:
        target.operations[operation].function(scope.actor("req-test"), "web", **named)

    do("server.create")
    do("server.wait", status="ACTIVE")
    target.settle(LIMIT_S)
    before, kept = target.observe(), target.keep()
    do("server.delete")
    do("server.wait_gone")
    target.settle(LIMIT_S)
    assert target.observe() != before

    target.reset(frozenset(), kept)

    assert target.observe() == before
    assert target.keep() == kept


def test_what_a_bug_switch_does_to_a_table_is_undone(target: OnServers) -> None:
    target.reset(frozenset())
    pristine, cell = target.keep(), Database(target.database_url("nova_cell1"))
    with cell.transaction() as connection:
        name = sa.inspect(connection).get_unique_constraints("block_device_mappings")[0]["name"]
        connection.execute(sa.text(f"ALTER TABLE block_device_mappings DROP CONSTRAINT {name}"))
    assert target.keep() != pristine

    target.reset(frozenset())

    assert target.keep() == pristine
    cell.engine.dispose()
