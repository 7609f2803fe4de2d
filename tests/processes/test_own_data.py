"""What a target of processes does by itself once it says where its data is, and what is open."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import pytest

from chaos.errors import NotSettled
from targets import sqlite
from targets.processes import ProcessTarget
from targets.topology import LogLine
from tests.processes.conftest import Start
from tests.processes.programs import Programs, shell

WAITS = "echo up; exec sleep 1000"


class Keeper(Programs):
    """One service, which counts its starts in ``own/count`` and ``a.db``."""

    data = ("own", "*.db")
    restore = ProcessTarget.restore

    def __init__(self) -> None:
        count = "mkdir -p own; echo x >> own/count; cat own/count > a.db"
        super().__init__(shell("one", f"{count}; echo log >> other; {WAITS}", ready=LogLine("up")))


@pytest.fixture
def keeper(start: Start) -> ProcessTarget:
    return start(Keeper())


def starts(keeper: ProcessTarget) -> tuple[str, str]:
    """What the service has counted since its data was made, as it stands in both places."""
    return ((keeper.run_dir / "own/count").read_text(), (keeper.run_dir / "a.db").read_text())


def test_the_pristine_world_has_no_data(keeper: ProcessTarget) -> None:
    keeper.services["one"].kill()
    keeper.services["one"].start()
    keeper.reset(frozenset())

    assert starts(keeper) == ("x\n", "x\n")


def test_what_is_not_data_stays(keeper: ProcessTarget) -> None:
    keeper.reset(frozenset())

    assert (keeper.run_dir / "other").read_text() == "log\nlog\n"


def test_what_was_kept_comes_back_and_nothing_else(keeper: ProcessTarget) -> None:
    kept = keeper.copy_of_data()
    (keeper.run_dir / "b.db").touch()
    (keeper.run_dir / "own/count").write_text("wrong")
    keeper.reset(frozenset(), kept)

    assert starts(keeper) == ("x\nx\n", "x\nx\n")
    assert not (keeper.run_dir / "b.db").exists()


# ---------------------------------------------------------------------- settling


class Worker(Programs):
    """Tells one thing after the other as unfinished; raises what is no text."""

    def __init__(self, *told: Collection[str] | Exception) -> None:
        super().__init__()
        self._told = iter(told)

    def unfinished(self) -> Collection[object]:
        told = next(self._told, ())
        if isinstance(told, Exception):
            raise told
        return told


def test_it_is_settled_once_nothing_is_unfinished() -> None:
    worker = Worker(["a job"], ["a job"], [])
    worker.settle(5.0)

    assert worker.unfinished() == ()  # it was asked three times, and no more


def test_whoever_cannot_be_asked_for_a_moment_is_asked_again() -> None:
    Worker(ConnectionError("the broker is down"), []).settle(5.0)


def test_what_is_unfinished_at_the_deadline_is_told() -> None:
    with pytest.raises(NotSettled, match="a job; a retry"):
        Worker(["a job", "a retry"]).settle(0.0)


def test_that_nobody_can_be_asked_is_told() -> None:
    with pytest.raises(NotSettled, match="the broker is down"):
        Worker(ConnectionError("the broker is down")).settle(0.0)


# ---------------------------------------------------------------------- looking


def test_rows_of_a_database_are_values(tmp_path: Path) -> None:
    file = tmp_path / "a#b.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')")

    assert sqlite.rows(file, "SELECT * FROM t ORDER BY a", "{} {}".format) == ("1 x", "2 y")


def test_whoever_looks_changes_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")):
        pass
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        sqlite.rows(tmp_path / "a.db", "CREATE TABLE t (a)", str)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        sqlite.rows(tmp_path / "a.db", "SELECT 1", str)
    assert not (tmp_path / "a.db").exists()


def test_a_database_is_a_world_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    make = "CREATE TABLE account (name PRIMARY KEY, balance); CREATE TABLE log (line)"
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(f"{make}; INSERT INTO account VALUES ('alice', 1)")
        before = sqlite.world(file)
        database.executescript("UPDATE account SET balance = 2; INSERT INTO log VALUES ('x')")
    after = sqlite.world(file)

    assert [(row.key, row.name, row.balance) for row in after.account] == [("alice", "alice", 2)]
    assert [str(change) for change in after.changes_since(before)] == [
        "account alice: balance 1 → 2",
        "log x: appeared",
    ]
    assert after == sqlite.world(file)
