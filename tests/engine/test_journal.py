"""The journal: what it keeps of very many trials, and what it does when something is wrong."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from chaos.errors import ChaosError
from chaos.history import Event, Kind
from chaos.journal import Journal, Round, ServiceLog, Trial
from chaos.journal.results import absorb_parts, begin
from tests.reports.nightly import trial

EVENTS = 50
"""Events of each round here."""

VERSION_1 = """
CREATE TABLE trial (
    id TEXT PRIMARY KEY, plan TEXT NOT NULL, title TEXT NOT NULL, scenario TEXT NOT NULL,
    source TEXT NOT NULL, bug TEXT NOT NULL, target TEXT NOT NULL, document TEXT NOT NULL,
    location TEXT NOT NULL, reproduce TEXT NOT NULL, started_unix REAL NOT NULL,
    started_ns INTEGER NOT NULL, ended_ns INTEGER, rounds INTEGER NOT NULL DEFAULT 0, verdict TEXT,
    expected TEXT NOT NULL, expected_violations TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    violated TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE round (
    trial TEXT NOT NULL REFERENCES trial(id), number INTEGER NOT NULL, schedule TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (trial, number)
);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, trial TEXT NOT NULL REFERENCES trial(id), round INTEGER NOT NULL,
    at_ns INTEGER NOT NULL, kind TEXT NOT NULL, lane TEXT NOT NULL, name TEXT NOT NULL,
    actor TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX event_of_trial ON event(trial, round, seq);
CREATE TABLE log (
    trial TEXT NOT NULL REFERENCES trial(id), round INTEGER NOT NULL, service TEXT NOT NULL,
    before_fault TEXT NOT NULL, after_fault TEXT NOT NULL
);
CREATE TABLE residue (found TEXT NOT NULL);

INSERT INTO trial VALUES
    ('a1', 'old', 'An old one', 'S1.1', 'LP#1', '', 'ledger', 'plan: old', 'old.plan.yaml:1',
     'chaos run', 1.5, 100, 200, 1, 'PASS', 'PASS', '[]', 'it held', '[]'),
    ('a2', 'old', 'An old one', 'S1.1', 'LP#1', 'lost', 'ledger', 'plan: old', 'old.plan.yaml:1',
     'chaos run', 2.5, 300, NULL, 0, NULL, 'FAIL', '["kept"]', '', '[]');
INSERT INTO round VALUES ('a1', 1, 'A B', 'PASS', ''), ('a2', 1, 'B A', 'PASS', '');
INSERT INTO event VALUES
    (1, 'a1', 1, 110, 'step', 'plan', 'given', '', '{"text": "given"}'),
    (2, 'a1', 1, 109, 'hit', 'vault', 'vault.post', 'x', '{}');
INSERT INTO log VALUES ('a1', 1, 'vault', 'before', 'after');
INSERT INTO residue VALUES ('a file');
PRAGMA user_version = 1;
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of version 1 with two trials, the second of which its runner died in."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def play(journal: Journal, record: Trial, *verdicts: str) -> list[bool]:
    """One trial with a round for each verdict; which of them were kept whole."""
    journal.begin(record)
    kept = []
    for number, verdict in enumerate(verdicts, 1):
        for place in range(1, EVENTS + 1):
            data = {"action": "record", "request": f"req-{place}", "thread": "MainThread"}
            event = Event(place, Kind.HIT, "vault", "vault.post", "", data, place)
            journal.event(record.id, number, event)
        kept.append(journal.end_round(record.id, Round(number, f"order {number}", verdict, "")))
    verdict = verdicts[-1] if verdicts else "SKIPPED"
    ended_ns = record.started_ns + 1_000_000
    journal.end(replace(record, ended_ns=ended_ns, rounds=len(verdicts), verdict=verdict))
    return kept


def whole(journal: Journal, record: Trial, rounds: int) -> list[int]:
    """Which of the rounds have events."""
    return [number for number in range(1, rounds + 1) if journal.events(record.id, number)]


# ---------------------------------------------------------------------- what is kept


def test_the_first_round_of_a_kind_is_kept_whole_and_those_after_it_are_listed(
    journal: Journal,
) -> None:
    first = trial("race", 1)
    assert play(journal, first, "PASS", "PASS", "PASS") == [True, False, False]
    assert whole(journal, first, 3) == [1]
    assert [each.schedule for each in journal.rounds(first.id)] == ["order 1", "order 2", "order 3"]


def test_of_a_further_trial_that_passes_only_its_row_is_kept(journal: Journal) -> None:
    play(journal, trial("race", 1), "PASS")
    again = trial("race", 2)

    assert play(journal, again, "PASS", "PASS") == [False, False]

    assert whole(journal, again, 2) == []
    assert journal.rounds(again.id) == ()
    assert [(each.verdict, each.rounds) for each in journal.trials()] == [("PASS", 1), ("PASS", 2)]


def test_every_round_that_does_not_pass_is_kept_whole(journal: Journal) -> None:
    play(journal, trial("race", 1), "PASS")
    again = trial("race", 2)

    assert play(journal, again, "PASS", "FAIL", "PASS", "VACUOUS", "ERROR") == [
        False, True, False, True, True,
    ]  # fmt: skip

    assert whole(journal, again, 5) == [2, 4, 5]
    assert [each.number for each in journal.rounds(again.id)] == [2, 4, 5]


@pytest.mark.parametrize(
    "other", [{"bug": "lost"}, {"case": "b"}, {"target": "t"}, {"document": "d"}, {"plan": "p"}]
)
def test_another_plan_text_case_bug_switch_or_target_is_another_kind(
    journal: Journal, other: dict[str, str]
) -> None:
    play(journal, trial("race", 1), "PASS")

    assert play(journal, trial(**{"plan": "race", "number": 2, **other}), "PASS") == [True]  # type: ignore[arg-type]


def test_a_trial_without_a_round_is_not_the_first_of_its_kind(journal: Journal) -> None:
    play(journal, trial("race", 1))

    assert play(journal, trial("race", 2), "PASS") == [True]


def test_a_journal_that_is_opened_again_knows_what_it_has(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        play(journal, trial("race", 1), "PASS")
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert play(journal, trial("race", 2), "PASS") == [False]


def test_what_comes_when_its_round_was_forgotten_does_not_bring_it_back(journal: Journal) -> None:
    play(journal, trial("race", 1), "PASS")
    again = trial("race", 2)
    journal.begin(again)
    late = Event(1, Kind.SERVICE, "vault", "exited")
    journal.end_round(again.id, Round(1, "", "PASS", ""))
    journal.event(again.id, 1, late)
    journal.event(again.id, 2, late)
    assert whole(journal, again, 2) == [2]


def test_a_killed_run_shows_the_last_round_though_it_is_not_the_first_of_its_kind(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.sqlite"
    dying = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from chaos.history import Event, Kind\n"
        "from chaos.journal import Journal\n"
        "from tests.engine.test_journal import play\n"
        "from tests.reports.nightly import trial\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "play(journal, trial('race', 1), 'PASS')\n"
        "journal.begin(trial('race', 2))\n"
        "journal.event(trial('race', 2).id, 1, Event(1, Kind.FAULT, 'vault', 'crash'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", dying, str(path)], cwd=root, timeout=60)
    assert done.returncode == -signal.SIGKILL

    with Journal(path, readonly=True) as journal:
        died = journal.trials()[1]
        assert (died.verdict, died.rounds) == (None, 0)
        assert [event.name for event in journal.events(died.id, 1)] == ["crash"]


def test_a_fault_is_in_the_file_at_once_with_all_that_came_before(journal: Journal) -> None:
    running = trial("race", 1)
    journal.begin(running)
    for number, kind in enumerate((Kind.STEP, Kind.HIT, Kind.FAULT), 1):
        journal.event(running.id, 1, Event(number, kind, "vault", kind.value, number=number))
    with Journal(journal.path, readonly=True) as other:
        assert [event.kind for event in other.events(running.id, 1)] == ["step", "hit", "fault"]


def test_the_hit_of_a_crash_is_in_the_file_before_its_fault_is_told(journal: Journal) -> None:
    running = trial("race", 1)
    journal.begin(running)
    journal.event(running.id, 1, Event(1, Kind.STEP, "plan", "during"))
    journal.event(running.id, 1, Event(2, Kind.HIT, "vault", "post", data={"action": "crash"}))
    with Journal(journal.path, readonly=True) as other:
        assert [event.name for event in other.events(running.id, 1)] == ["during", "post"]


def test_events_that_could_not_be_written_for_a_while_are_written_then(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, refused = trial("race", 1), threading.Event()

    def refuse(*statements: object) -> None:
        refused.set()
        raise ChaosError("no space")

    journal.begin(running)
    monkeypatch.setattr(journal, "_write", refuse)
    journal.event(running.id, 1, Event(1, Kind.HIT, "vault", "vault.post"))
    assert refused.wait(20)
    with pytest.raises(ChaosError, match="no space"):
        journal.end_round(running.id, Round(1, "", "PASS", ""))
    monkeypatch.undo()
    assert journal.end_round(running.id, Round(1, "", "PASS", ""))
    assert [event.name for event in journal.events(running.id, 1)] == ["vault.post"]


def test_what_is_no_fault_comes_into_the_file_by_itself(journal: Journal) -> None:
    running = trial("race", 1)
    journal.begin(running)
    journal.event(running.id, 1, Event(1, Kind.HIT, "vault", "vault.post"))
    end = time.monotonic() + 20
    with Journal(journal.path, readonly=True) as other:
        while not other.events(running.id, 1):
            assert time.monotonic() < end


def test_a_plan_is_stored_once_and_read_with_each_of_its_trials(journal: Journal) -> None:
    document = "plan: " + "long " * 10_000
    for number in range(100):
        play(journal, trial("race", number, document=document), "PASS")

    assert {each.document for each in journal.trials()} == {document}
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert journal.path.stat().st_size < 3 * len(document)


def test_trials_are_read_while_another_process_begins_more_of_them(journal: Journal) -> None:
    numbers = iter(range(100))
    with Journal(journal.path, readonly=True) as reader:
        reader._db.set_trace_callback(  # before each statement, as another process may at any time
            lambda _sql: journal.begin(trial(f"plan-{(number := next(numbers))}", number))
        )
        for seen in range(1, 4):
            assert len(reader.trials()) in (seen - 1, seen)


def test_a_note_and_a_case_stand_beside_the_verdict(journal: Journal) -> None:
    record = trial("race", 1, case="before bdm.destroy")
    journal.begin(record)
    journal.end(
        replace(record, ended_ns=2, verdict="SKIPPED", reason="no links", note="undo failed")
    )
    (found,) = journal.trials()
    assert (found.case, found.note, found.title_of_case) == (
        "before bdm.destroy",
        "undo failed",
        "race[before bdm.destroy]",
    )
    assert (found.skipped, found.as_expected, found.unexpected) == (True, False, False)


# ---------------------------------------------------------------------- what it costs


def test_the_last_of_many_trials_costs_what_the_second_did(journal: Journal) -> None:
    """Counted in instructions of SQLite's machine, which a scan or a read of all trials shows."""
    cost = [0]

    def count() -> int:
        cost[0] += 1
        return 0

    journal._db.set_progress_handler(count, 1)
    each = []
    for number in range(250):
        before = cost[0]
        play(journal, trial("race", number), "PASS", "PASS")
        each.append(cost[0] - before)

    # Of most trials: sometimes events have been written before it was known that they pass.
    assert median(each[-50:]) <= 1.1 * median(each[1:51])


def test_trials_that_pass_make_the_journal_grow_by_their_rows_only(journal: Journal) -> None:
    def size() -> int:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return journal.path.stat().st_size

    for number in range(100):
        play(journal, trial("race", number), "PASS", "PASS")
    begun = size()
    for number in range(100, 350):
        play(journal, trial("race", number), "PASS", "PASS")

    # 10,000 trials and 20,000 rounds of 50 events: 10 MB. Their events alone would be 150 MB.
    assert (size() - begun) / 250 < 1000


# ---------------------------------------------------------------------- versions


def test_a_journal_of_version_1_is_migrated_when_it_is_written(old: Path) -> None:
    with Journal(old) as journal:
        play(journal, trial("new", 1), "PASS")
    assert version(old) == 3
    with Journal(old, readonly=True) as journal:
        first, died, new = journal.trials()
    assert (first.document, first.case, first.note, first.rounds) == ("plan: old", "", "", 1)
    assert (died.document, died.bug, died.expected_violations, died.rounds) == (
        "plan: old", "lost", ("kept",), 1,
    )  # fmt: skip
    assert new.plan == "new"


def test_a_journal_of_version_2_is_migrated_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        play(journal, trial("kept", 1), "SKIPPED")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE trial DROP COLUMN required")
        db.execute("PRAGMA user_version = 2")
    with Journal(path) as journal:
        (kept,) = journal.trials()
    assert version(path) == 3
    assert (kept.plan, kept.skipped, kept.required) == ("kept", True, False)


def test_a_journal_of_version_1_is_read_and_left_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    with Journal(old, readonly=True) as journal:
        assert [each.id for each in journal.trials()] == ["a1", "a2"]
        assert [event.name for event in journal.events("a1", 1)] == ["given", "vault.post"]
        assert journal.rounds("a2") == (Round(1, "B A", "PASS", ""),)
        assert journal.logs("a1", 1) == (ServiceLog(1, "vault", "before", "after"),)
        assert journal.residues() == ("a file",)
    assert old.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as db:
        db.execute("ALTER TABLE event ADD COLUMN number TEXT")  # the last that the migration adds
    with pytest.raises(ChaosError, match=r"old\.sqlite is not a journal, or not whole: duplicate"):
        Journal(old)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT DISTINCT document FROM trial").fetchall() == [("plan: old",)]
    assert version(old) == 1


def test_a_journal_of_a_newer_version_is_one_clear_error(tmp_path: Path) -> None:
    newer = tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 4")
    for readonly in (True, False):
        with pytest.raises(ChaosError, match=r"newer\.sqlite was written by a newer version"):
            Journal(newer, readonly=readonly)


# ---------------------------------------------------------------------- the parts of several

RUN = "1f0c"


def test_the_part_of_a_worker_that_died_at_once_adds_nothing(
    journal: Journal, tmp_path: Path
) -> None:
    begun = tmp_path / "begun.sqlite"
    begun.touch()
    whole = tmp_path / "whole.sqlite"
    with Journal(whole) as part:
        part.residue("a file")
    journal.absorb(begun)
    journal.absorb(whole)
    assert journal.residues() == ("a file",)


def test_everything_of_a_part_is_absorbed(journal: Journal, tmp_path: Path) -> None:
    record = trial("race", 1, case="c")
    with Journal(tmp_path / "part.sqlite") as part:
        play(part, record, "FAIL")
        part.log(record.id, ServiceLog(1, "vault", "before", "after"))
        expected = [
            part.trials(), part.rounds(record.id), part.events(record.id, 1),
            part.logs(record.id, 1),
        ]  # fmt: skip
    journal.absorb(tmp_path / "part.sqlite")
    assert expected == [
        journal.trials(), journal.rounds(record.id), journal.events(record.id, 1),
        journal.logs(record.id, 1),
    ]  # fmt: skip


def test_a_part_of_version_1_is_migrated(journal: Journal, old: Path) -> None:
    play(journal, trial("race", 1), "PASS")
    journal.absorb(old)
    assert {each.plan: each.document for each in journal.trials()}["old"] == "plan: old"
    assert journal.rounds("a1") == (Round(1, "A B", "PASS", ""),)


def test_of_a_part_that_cannot_be_absorbed_nothing_is(journal: Journal, tmp_path: Path) -> None:
    play(journal, trial("race", 2), "FAIL")
    with Journal(tmp_path / "part.sqlite") as part:
        play(part, trial("other", 1), "FAIL")
        play(part, trial("race", 2), "FAIL")  # is there already
    with pytest.raises(ChaosError, match=r"part\.sqlite cannot be read into .*UNIQUE"):
        journal.absorb(tmp_path / "part.sqlite")
    assert [each.plan for each in journal.trials()] == ["race"]
    play(journal, trial("after", 3), "PASS")


def spoil(path: Path, how: str) -> None:
    with Journal(path) as part:
        for number in range(200):
            play(part, trial("spoilt", number), "FAIL")
    match how:
        case "text":
            path.write_bytes(b"this is no journal" * 1000)
        case "cut off":
            os.truncate(path, path.stat().st_size // 2)
        case "overwritten":
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 3)
                file.write(b"\xff" * (path.stat().st_size // 3))
        case "newer":
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA user_version = 4")


@pytest.mark.parametrize("how", ["text", "cut off", "overwritten", "newer"])
def test_a_part_that_cannot_be_read_is_named_and_the_rest_absorbed(
    tmp_path: Path, how: str
) -> None:
    with begin(tmp_path, "gw0", RUN) as first, begin(tmp_path, "gw2", RUN) as last:
        play(first, trial("first", 1), "PASS")
        play(last, trial("last", 2), "PASS")
    spoilt = tmp_path / f".{RUN}-gw1.part.sqlite"
    spoil(spoilt, how)
    with begin(tmp_path, run=RUN) as journal:
        absorb_parts(journal, tmp_path, RUN)
        assert [each.plan for each in journal.trials()] == ["first", "last"]
        (told,) = journal.residues()
        play(journal, trial("after", 3), "PASS")
    assert str(spoilt) in told
    assert [path.name for path in tmp_path.glob(".*.part.sqlite")] == [spoilt.name]


# ---------------------------------------------------------------------- its file


def test_a_journal_that_cannot_be_written_says_which_and_why(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path):
        pass
    with (
        Journal(path, readonly=True) as journal,
        pytest.raises(ChaosError, match=f"{path} cannot be written: .*readonly"),
    ):
        journal.residue("a file")


@pytest.mark.parametrize("name", ["a#b", "a?mode=memory", "a%41b", "a b", "é"])
def test_a_journal_is_where_its_path_says_whatever_is_in_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with Journal(folder / "journal.sqlite") as journal:
        play(journal, trial("race", 1), "PASS")
    with Journal(folder / "part.sqlite") as part:
        play(part, trial("part", 2), "PASS")

    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Journal(folder / "journal.sqlite") as journal:
        journal.absorb(folder / "part.sqlite")
    with Journal(folder / "journal.sqlite", readonly=True) as journal:
        assert len(journal.trials()) == 2


def test_data_that_json_does_not_know_is_written_as_text(journal: Journal) -> None:
    record = trial("race", 1)
    journal.begin(record)
    journal.event(record.id, 1, Event(1, Kind.OK, "client", "x", "", {"answer": Path("there")}))
    (event,) = journal.events(record.id, 1)
    assert json.dumps(event.data) == '{"answer": "there"}'
