"""The journal: one SQLite file per run, written as it happens, readable after a crash.

Everything a report shows comes from here. Several processes (pytest-xdist workers) write a part
each, which :meth:`Journal.absorb` puts into one; every row says which trial it belongs to.

Retention: however many trials there are, the journal keeps *whole* (events and logs) the first
round of each kind of trial (:attr:`Trial.kind`) and every round that is not a PASS. It *lists*
(number, schedule, verdict) also the other rounds of a kind's first trial. Of all others it keeps
what their trial's row says: how many there were, the verdict, how long it took. What is not kept
whole is nevertheless written as it happens, and forgotten only when its round has ended well: a
killed run shows its last round. What strikes is written before anybody goes on, with all that came
before; the rest in batches, so that a killed run lacks at most its last :data:`LATE_S` seconds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from chaos.errors import ChaosError
from chaos.history import Event, Kind
from chaos.journal.schema import TABLES, VERSION, content_hash, upgrade, version_of
from chaos.verdict import Verdict

TrialKind: TypeAlias = tuple[str, str, str, str, str]

LATE_S = 0.1
"""So many seconds after it was told an event is in the file: one write for many of them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of ``trial``: see the comments in the schema for meaning and units."""

    id: str
    plan: str
    title: str
    scenario: str
    source: str
    bug: str
    target: str
    document: str
    location: str
    reproduce: str
    started_unix: float
    started_ns: int
    ended_ns: int | None
    rounds: int
    verdict: str | None
    expected: str
    expected_violations: tuple[str, ...]
    reason: str
    violated: tuple[str, ...] = ()
    case: str = ""
    note: str = ""
    required: bool = False

    @property
    def kind(self) -> TrialKind:
        """What trials have in common that do the same: plan and its text, case, bug, target."""
        return (self.plan, self.case, self.bug, self.target, self.document)

    @property
    def title_of_case(self) -> str:
        """``compute-dies``, or of a matrix ``compute-dies[before bdm.destroy]``."""
        return f"{self.plan}[{self.case}]" if self.case else self.plan

    @property
    def as_expected(self) -> bool:
        """Whether the verdict, and the invariants it names, are the expected ones.

        Where none is expected, that is any which says something about the target.
        """
        if not self.expected:
            return self.verdict not in (None, Verdict.ERROR)
        return self.verdict == self.expected and set(self.expected_violations) <= {*self.violated}

    @property
    def skipped(self) -> bool:
        """Whether it was not executed, for a reason, nor had to be: neither red nor green."""
        return self.verdict == Verdict.SKIPPED and not self.as_expected and not self.required

    @property
    def unexpected(self) -> bool:
        """Whether it needs a person."""
        return not self.as_expected and not self.skipped

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to verdict; None when the runner died before."""
        return None if self.ended_ns is None else (self.ended_ns - self.started_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Round:
    """One row of ``round``."""

    number: int
    schedule: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceLog:
    """What one service wrote around the fault, in one round."""

    round: int
    service: str
    before_fault: str
    after_fault: str


@dataclass(slots=True)
class _Running:
    """What must be known of a trial to say which of its rounds are kept."""

    kind: TrialKind
    ended: int = 0
    written: set[int] = field(default_factory=set)
    """The rounds of which there are events in the file."""
    whole: set[int] = field(default_factory=set)

    def takes(self, number: int) -> bool:
        """Whether an event of this round has its place: a round that was forgotten stays so."""
        return number > self.ended or number in self.whole


class Journal:
    """Write and read one journal file; any thread may call anything here.

    A file of an older version is migrated when it is opened for writing; opened for reading, a copy
    in memory is. One lock guards the connection; under it nothing is called but SQLite. When it is
    closed, ``on_close`` is called. A thread of its own writes the events that are due.

    Raises:
        ChaosError: the file is not a journal, or is of a newer version.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self._on_close = on_close
        self._lock = threading.RLock()
        self._running: dict[str, _Running] = {}
        self._due: list[tuple[str, int, Event]] = []
        """Events that are not in the file yet: trial, round, event."""
        self._told = threading.Condition(self._lock)
        self._writer: threading.Thread | None = None
        self._is_closed = False
        if readonly and not path.exists():
            raise ChaosError(f"there is no journal at {path}; `chaos run` writes one")
        self._db = _connect(_address(path, "ro" if readonly else "rwc"))
        try:
            self._open(readonly)
            self._first = self._first_trials()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise ChaosError(f"{path} is not a journal, or not whole: {error}") from error
            raise
        self._file = _identity(path)

    def _open(self, readonly: bool) -> None:
        version = version_of(self._db)
        if version > VERSION:
            raise ChaosError(
                f"{self.path} was written by a newer version (schema {version}, this one knows "
                f"{VERSION}); read it with the version that wrote it"
            )
        if not readonly:
            # WAL + NORMAL: a killed process loses nothing; only a power cut could cost the tail.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
        elif version == 0:
            raise ChaosError(f"{self.path} is not a journal, or was begun just now")
        elif version < VERSION:
            with closing(self._db) as older:
                self._db = _connect(":memory:")
                older.backup(self._db)
        upgrade(self._db)

    def _first_trials(self) -> dict[TrialKind, str]:
        """The trial of each kind that has its first round."""
        first: dict[TrialKind, str] = {}
        for trial in self.trials():
            if trial.rounds:
                first.setdefault(trial.kind, trial.id)
        return first

    def close(self) -> None:
        """Close the file; what was told is in it."""
        with self._lock:
            self._is_closed = True
            self._told.notify_all()
        if self._writer is not None:
            self._writer.join()
        try:
            with self._lock:
                self._write_due()
        finally:
            self._db.close()
            self._on_close()

    @property
    def is_lost(self) -> bool:
        """Whether its file was deleted or replaced: nobody will find what is written to it."""
        return _identity(self.path) != self._file

    def copy(self, path: Path) -> None:
        """Write another journal with the same content.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        with self._lock, closing(_connect(_address(path, "rwc"))) as other:
            self._write_due()
            self._db.backup(other)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ writing

    def _write(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Execute all of them, or none."""
        with self._lock:
            try:
                if len(statements) > 1:
                    self._db.execute("BEGIN IMMEDIATE")
                with self._db:
                    for sql, values in statements:
                        self._db.execute(sql, values)
            except sqlite3.Error as error:
                raise ChaosError(
                    f"the journal {self.path} cannot be written: {error}; look at that disk's "
                    "free space and permissions, then run again"
                ) from error

    def begin(self, trial: Trial) -> None:
        """Record that a trial starts."""
        row = {_column(name): getattr(trial, name) for name in Trial.__dataclass_fields__}
        row["document"] = content_hash(trial.document)
        for listed in _LISTS:
            row[listed] = json.dumps(row[listed])
        self._write(
            ("INSERT OR IGNORE INTO document VALUES (?, ?)", (row["document"], trial.document)),
            (
                f"INSERT INTO trial ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                tuple(row.values()),
            ),
        )
        self._running[trial.id] = _Running(trial.kind)

    def event(self, trial: str, round_number: int, event: Event) -> None:
        """Record one event of a round; one that comes after its trial has ended has no place.

        Raises:
            ChaosError: it strikes, and cannot be written.
        """
        with self._lock:  # also while looking: the round must not be forgotten in between
            running = self._running.get(trial)
            if running is None or not running.takes(round_number):
                return
            self._due.append((trial, round_number, event))
            if _is_urgent(event):
                self._write_due()
            elif self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_late, name="journal", daemon=True
                )
                self._writer.start()
            elif len(self._due) == 1:  # otherwise it is about to write, and a wake-up costs
                self._told.notify_all()

    def _write_late(self) -> None:
        """Write what is due a little later than it was told, until the journal is closed."""
        with self._lock:
            while not self._is_closed:
                self._told.wait_for(lambda: self._due or self._is_closed)
                self._told.wait_for(lambda: self._is_closed, LATE_S)
                # What cannot be written stays due; who ends the round is told if it still cannot.
                with suppress(ChaosError):
                    self._write_due()

    def _write_due(self) -> None:
        if not self._due:
            return
        self._write(*(
            (_EVENT, (
                trial, round_number, event.number, event.at_ns, event.kind, event.lane, event.name,
                event.actor, json.dumps(event.data, default=str),
            ))
            for trial, round_number, event in self._due
        ))  # fmt: skip
        for trial, round_number, _ in self._due:
            running = self._running.get(trial)
            if running is not None:
                running.written.add(round_number)
        self._due.clear()

    def log(self, trial: str, log: ServiceLog) -> None:
        """Record what a service wrote around the fault, in a round that is kept whole."""
        self._write((
            "INSERT INTO log VALUES (?, ?, ?, ?, ?)",
            (trial, log.round, log.service, log.before_fault, log.after_fault),
        ))  # fmt: skip

    def end_round(self, trial: str, ended: Round) -> bool:
        """Record how a round ended; whether it is kept whole, and so may have logs."""
        with self._lock:
            running = self._running[trial]
            first = self._first.setdefault(running.kind, trial)
            unequal = ended.verdict != Verdict.PASS
            whole = unequal or (first == trial and not running.ended)
            statements: list[tuple[str, tuple[Any, ...]]] = [
                ("UPDATE trial SET rounds=? WHERE id=?", (ended.number, trial))
            ]
            if unequal or first == trial:
                row = (trial, ended.number, ended.schedule, ended.verdict, ended.reason)
                statements.append(("INSERT INTO round VALUES (?, ?, ?, ?, ?)", row))
            if whole:
                self._write_due()
            else:
                self._due = [due for due in self._due if due[:2] != (trial, ended.number)]
                if ended.number in running.written:
                    running.written.discard(ended.number)
                    forget = "DELETE FROM event WHERE trial=? AND round=?"
                    statements.append((forget, (trial, ended.number)))
            self._write(*statements)
            running.ended = ended.number
            if whole:
                running.whole.add(ended.number)
            return whole

    def end(self, ended: Trial) -> None:
        """Record how a trial ended; what it was is as it began, but for the command."""
        with self._lock:
            self._write_due()
            self._write((
                "UPDATE trial SET ended_ns=?, rounds=?, verdict=?, reason=?, violated=?, note=?,"
                " reproduce=? WHERE id=?",
                (
                    ended.ended_ns, ended.rounds, ended.verdict, ended.reason,
                    json.dumps(ended.violated), ended.note, ended.reproduce, ended.id,
                ),
            ))  # fmt: skip
            self._running.pop(ended.id, None)

    def residue(self, found: str) -> None:
        """Record something that was left over after the run."""
        self._write(("INSERT INTO residue VALUES (?)", (found,)))

    def absorb(self, part: Path) -> None:
        """Copy everything from another journal, or nothing of it; an older one is migrated first.

        Raises:
            ChaosError: it is not a journal, not whole, or of a newer version; names the file.
        """
        Journal(part).close()
        with self._lock:
            try:
                self._db.execute("ATTACH ? AS part", (_address(part, "rw"),))
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    with self._db:
                        for table in TABLES:
                            self._db.execute(self._copying(table))
                finally:
                    self._db.execute("DETACH part")
            except sqlite3.Error as error:
                raise ChaosError(f"{part} cannot be read into {self.path}: {error}") from error
            self._first = self._first_trials() | self._first

    def _copying(self, table: str) -> str:
        """Copies a table of a part. In a migrated file the columns stand in another order."""
        found = self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))
        columns = ", ".join(name for (name,) in found if name != "seq")
        again = "OR IGNORE " if table == "document" else ""
        return (
            f"INSERT {again}INTO main.{table} ({columns})"
            f" SELECT {columns} FROM part.{table} ORDER BY rowid"
        )

    # ------------------------------------------------------------------ reading

    def _read(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[sqlite3.Row]:
        with self._lock, closing(self._db.cursor()) as cursor:
            self._write_due()
            cursor.row_factory = sqlite3.Row
            found = cursor.execute(sql, values).fetchall()
        yield from found

    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in order of start."""
        found = []
        for row in map(dict, self._read(_TRIALS)):
            row["case"] = row.pop("case_name")
            row["document"] = row.pop("text")
            row.pop("hash")
            for listed in _LISTS:
                row[listed] = tuple(json.loads(row[listed]))
            row["required"] = bool(row["required"])
            found.append(Trial(**row))
        return tuple(found)

    def rounds(self, trial: str) -> tuple[Round, ...]:
        """The rounds of a trial that are listed, in order."""
        return tuple(
            Round(row["number"], row["schedule"], row["verdict"], row["reason"])
            for row in self._read("SELECT * FROM round WHERE trial=? ORDER BY number", (trial,))
        )

    def events(self, trial: str, round_number: int) -> tuple[Event, ...]:
        """The events of one round, in order; none when it was not kept whole."""
        return tuple(
            Event(
                row["at_ns"], Kind(row["kind"]), row["lane"], row["name"], row["actor"],
                json.loads(row["data"]), row["number"],
            )
            for row in self._read(
                "SELECT * FROM event WHERE trial=? AND round=? ORDER BY number, seq",
                (trial, round_number),
            )
        )  # fmt: skip

    def logs(self, trial: str, round_number: int) -> tuple[ServiceLog, ...]:
        """What the services wrote around the fault in one round."""
        return tuple(
            ServiceLog(row["round"], row["service"], row["before_fault"], row["after_fault"])
            for row in self._read(
                "SELECT * FROM log WHERE trial=? AND round=? ORDER BY rowid", (trial, round_number)
            )
        )

    def residues(self) -> tuple[str, ...]:
        """Everything that the audits found left over."""
        return tuple(row["found"] for row in self._read("SELECT found FROM residue"))


_EVENT = (
    "INSERT INTO event (trial, round, number, at_ns, kind, lane, name, actor, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _is_urgent(event: Event) -> bool:
    """Whether it strikes, or is found: not a step of a race, of which there are many."""
    if event.kind is Kind.HIT:
        return event.data.get("action", "record") not in ("record", "pause")
    return event.kind is Kind.VIOLATION or (event.kind is Kind.FAULT and event.name != "race")


_TRIALS = (
    "SELECT trial.*, document.* FROM trial JOIN document ON trial.document = document.hash"
    " ORDER BY started_ns, trial.rowid"
)
"""In one statement: between two, a trial and its document may be written by another process."""

_LISTS = ("expected_violations", "violated")
"""Fields of a trial that the table holds as JSON."""


def _column(name: str) -> str:
    """Where a field of a trial is; CASE is a word of SQL."""
    return "case_name" if name == "case" else name


def _address(path: Path, mode: str) -> str:
    """As SQLite wants it: quoted, for a ``#``, ``?`` or ``%`` would lead to another file."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, uri=True, check_same_thread=False, isolation_level=None, timeout=10
    )
