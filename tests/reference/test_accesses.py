"""What the target tells of the tables, queues and locks that its services touch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import pytest

from chaos.operation import Scope
from chaos.point import Access
from targets.embedded.accesses import (
    ACCESSES,
    EVERYTHING,
    of_lock,
    of_message,
    of_statement,
    tables,
)
from targets.embedded.target import Embedded
from targets.reference import image, network
from targets.reference.identity import store as identity
from targets.reference.nova import hypervisor
from targets.reference.nova import tables as nova
from targets.reference.placement import store as placement
from targets.reference.volume import store as volume
from tests.reference.conftest import instrumentation

METADATA = (
    nova.API, nova.CELL, volume.METADATA, network.METADATA, image.METADATA, placement.METADATA,
    hypervisor.METADATA, identity.METADATA,
)  # fmt: skip


class Told(NamedTuple):
    how: str
    service: str
    statement: str


class Spied(Embedded):
    topology = replace(
        Embedded.topology, preload=(*Embedded.topology.preload, "tests.reference.statements")
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Told]]:
    """Every statement of a server's life with a volume."""
    target = Spied()
    target.start(instrumentation(tmp_path_factory.mktemp("spied")), frozenset())
    try:
        file = target.run_dir / "statements.jsonl"
        file.unlink()
        scope = Scope(target.client(), request_id="req-test")

        def do(operation: str, *names: str, **arguments: object) -> None:
            target.operations[operation].function(scope, *names, **arguments)

        do("volume.create", "data")
        do("server.create", "vm")
        do("volume.attach", "vm", "data")
        do("server.reboot", "vm", wait="ACTIVE")
        do("volume.detach", "vm", "data", wait="available")
        do("server.create", "other", volumes=("data",), delete_on_termination=True)
        for server in ("vm", "other"):
            do("server.delete", server)
            do("server.wait_gone", server)
        for name in ("api", "conductor", "compute-host1", "volume"):
            target.services[name].kill()
            target.services[name].start()
        target.settle(10)
        yield [Told(*json.loads(line)) for line in file.read_text().splitlines()]
    finally:
        target.stop()


def test_no_statement_goes_past_the_points(told: list[Told]) -> None:
    points = {access.point.function.rpartition(".")[2] for access in ACCESSES}
    executed = Counter((t.service, t.statement) for t in told if t.how == "event")
    assert len(executed) > 20
    assert Counter((t.service, t.statement) for t in told if t.how in points) == executed


def test_no_statement_on_rows_is_unclear(told: list[Told]) -> None:
    at_start = ("CREATE",)
    unclear = {t.statement for t in told if tables(t.statement) is None}
    assert [s for s in unclear if not s.lstrip().startswith(at_start)] == []


def test_only_tables_are_told(told: list[Told]) -> None:
    found = {table for t in told for table in chain(*(tables(t.statement) or ()))}
    known = {table for metadata in METADATA for table in metadata.tables}
    assert found - known == set()
    assert {"build_requests", "instances", "volumes", "attachments", "allocations"} <= found


def test_every_statement_that_writes_is_told_as_a_write(told: list[Told]) -> None:
    for t in told:
        if t.statement.startswith(("INSERT", "UPDATE", "DELETE")):
            assert any(a.writes for a in of_statement(t.service, {"statement": t.statement}))


def test_no_two_databases_have_a_table_of_the_same_name() -> None:
    names = Counter(table for metadata in METADATA for table in metadata.tables)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("statement", "reads", "writes"),
    [
        ("SELECT a.b, c FROM a JOIN d ON a.b = d.b WHERE x = ?", {"a", "d"}, set()),
        ('SELECT 1 FROM "a" LEFT OUTER JOIN main.d ON 1', {"a", "d"}, set()),
        ("SELECT x FROM (SELECT x FROM a) AS inside", {"a"}, set()),
        ("INSERT INTO a (b) VALUES (?) RETURNING b", set(), {"a"}),
        ("INSERT OR IGNORE INTO a SELECT b FROM c", {"c"}, {"a"}),
        ("UPDATE a SET b=? WHERE c IN (SELECT c FROM d)", {"d"}, {"a"}),
        ("DELETE FROM a WHERE b = 'it''s FROM c'", set(), {"a"}),
        ("\n  delete from a", set(), {"a"}),
        ("BEGIN IMMEDIATE", set(), set()),
        ("COMMIT", set(), set()),
        ('PRAGMA main.table_info("a")', set(), set()),
    ],
)
def test_a_statement_tells_its_tables(statement: str, reads: set[str], writes: set[str]) -> None:
    assert tables(statement) == (frozenset(reads), frozenset(writes))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE a",
        "WITH x AS (SELECT 1 FROM a) SELECT * FROM x",
        "SELECT * FROM a, b",
        "SELECT * FROM a AS one, b AS two",
        "SELECT 1",
        "DELETE FROM a; DELETE FROM b",
        "REPLACE INTO a VALUES (1)",
        "PRAGMA user_version = 3",
        "VACUUM",
        "",
    ],
)
def test_a_statement_that_is_not_clear_conflicts_with_all(statement: str) -> None:
    (unclear,) = of_statement("api", {"statement": statement})
    for service in ("api", "hypervisor-host1"):
        others = list(of_statement(service, {"statement": "SELECT x FROM volumes"}))
        assert any(unclear.conflicts(other) for other in others)
    assert unclear.conflicts(unclear)


def conflict(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether the statements of two services do."""
    first, second = (list(of_statement(s, {"statement": text})) for s, text in (one, other))
    return any(a.conflicts(b) for a in first for b in second)


READ, WRITE = "SELECT power FROM guests", "UPDATE guests SET power=?"


@pytest.mark.parametrize(
    ("one", "other", "conflicting"),
    [
        (("api", "DELETE FROM ports"), ("conductor", "SELECT id FROM ports"), True),
        (("api", "DELETE FROM ports"), ("conductor", "DELETE FROM ports"), True),
        (("api", "SELECT id FROM ports"), ("conductor", "SELECT id FROM ports"), False),
        (("api", "DELETE FROM ports"), ("conductor", "DELETE FROM volumes"), False),
        (("hypervisor-host1", WRITE), ("hypervisor-host1", READ), True),
        (("hypervisor-host1", WRITE), ("hypervisor-host2", READ), False),
        (("api", "BEGIN"), ("api", "DELETE FROM ports"), False),
    ],
)
def test_two_statements_conflict_when_one_writes_what_the_other_touches(
    one: tuple[str, str], other: tuple[str, str], conflicting: bool
) -> None:
    assert conflict(one, other) is conflicting


def test_two_casts_to_one_queue_conflict() -> None:
    (first,) = of_message("api", {"queue": "conductor"})
    assert (first, first.conflicts(first)) == (Access("bus/conductor", True), True)
    assert not first.conflicts(*of_message("api", {"queue": "scheduler"}))


def test_a_lock_is_one_of_its_process() -> None:
    (lock,) = of_lock("conductor", {"name": "i1"})
    assert lock.conflicts(*of_lock("conductor", {"name": "i1"}))
    assert not lock.conflicts(*of_lock("compute-host1", {"name": "i1"}))
    assert not lock.conflicts(*of_lock("conductor", {"name": "i2"}))


def test_every_access_point_is_a_function_with_these_arguments() -> None:
    import importlib
    import inspect

    for access in ACCESSES:
        module, _, name = access.point.function.partition(":")
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        parameters = inspect.signature(inspect.unwrap(found)).parameters  # type: ignore[arg-type]
        assert {*access.arguments} <= {*parameters}


def test_what_is_not_on_rows_is_told_apart_from_everything() -> None:
    assert EVERYTHING not in {a.what for a in of_statement("api", {"statement": "COMMIT"})}
