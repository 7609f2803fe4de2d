"""The journal: one SQLite file per run, written as it happens, readable after a crash.

Everything a report shows comes from here. Several processes (pytest-xdist workers) may write to
one journal; every row says which trial it belongs to.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.errors import ChaosError
from chaos.history import Event, Kind

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trial (      -- one plan, with one set of bug switches: one verdict
    id TEXT PRIMARY KEY,                -- e.g. 7c1e4a09f2d3
    plan TEXT NOT NULL,                 -- name of the plan
    title TEXT NOT NULL,
    scenario TEXT NOT NULL,
    source TEXT NOT NULL,               -- where the scenario comes from, e.g. LP#2067869
    bug TEXT NOT NULL,                  -- bug switch that is on, '' for none
    target TEXT NOT NULL,
    document TEXT NOT NULL,             -- the plan as YAML: enough to run it again
    location TEXT NOT NULL,             -- file the plan came from, '' when written in Python
    reproduce TEXT NOT NULL,            -- a shell command
    started_unix REAL NOT NULL,
    started_ns INTEGER NOT NULL,        -- monotonic
    ended_ns INTEGER,                   -- NULL: the runner died in this trial
    rounds INTEGER NOT NULL DEFAULT 0,  -- how many times it was executed (a race: once per order)
    verdict TEXT,                       -- PASS, FAIL, VACUOUS, ERROR
    expected TEXT NOT NULL,             -- PASS, or FAIL when a bug switch must be caught
    expected_violations TEXT NOT NULL,  -- JSON list of invariant names
    reason TEXT NOT NULL DEFAULT '',    -- the verdict in words, evidence included
    violated TEXT NOT NULL DEFAULT '[]' -- JSON list: names of the invariants that did not hold
);
CREATE TABLE IF NOT EXISTS round (      -- one execution of the plan
    trial TEXT NOT NULL REFERENCES trial(id),
    number INTEGER NOT NULL,            -- from 1
    schedule TEXT NOT NULL,             -- order of the actors in a race, '' otherwise
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (trial, number)
);
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY,
    trial TEXT NOT NULL REFERENCES trial(id),
    round INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,             -- monotonic, comparable to trial.started_ns
    kind TEXT NOT NULL,                 -- chaos.history.Kind says what lane, name and data mean
    lane TEXT NOT NULL,
    name TEXT NOT NULL,
    actor TEXT NOT NULL,
    data TEXT NOT NULL                  -- JSON object
);
CREATE INDEX IF NOT EXISTS event_of_trial ON event(trial, round, seq);
CREATE TABLE IF NOT EXISTS log (        -- what a service wrote around the fault
    trial TEXT NOT NULL REFERENCES trial(id),
    round INTEGER NOT NULL,
    service TEXT NOT NULL,
    before_fault TEXT NOT NULL,         -- last lines up to the moment the fault struck
    after_fault TEXT NOT NULL           -- first lines from then on
);
CREATE TABLE IF NOT EXISTS residue (    -- what the audit after the run found left over
    found TEXT NOT NULL
);
"""


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

    @property
    def as_expected(self) -> bool:
        """Whether the verdict, and the invariants it names, are the expected ones."""
        return self.verdict == self.expected and set(self.expected_violations) <= {*self.violated}

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


class Journal:
    """Write and read one journal file.

    Raises:
        ChaosError: the file is not a journal, or is of a newer version.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        if readonly and not path.exists():
            raise ChaosError(f"there is no journal at {path}; `chaos run` writes one")
        where = f"file:{path}?mode=ro" if readonly else f"file:{path}"
        self._db = sqlite3.connect(
            where, uri=True, check_same_thread=False, isolation_level=None, timeout=10
        )
        try:
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise ChaosError(f"{path} is not a journal: {error}") from error
        if version > SCHEMA_VERSION:
            raise ChaosError(f"{path} was written by a newer version (schema {version})")
        if readonly and version == 0:
            raise ChaosError(f"{path} is not a journal, or was begun just now")
        if not readonly:
            # WAL + NORMAL: a killed process loses nothing; only a power cut could cost the tail.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; what was written is on it."""
        self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ writing

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            try:
                self._db.execute(sql, values)
            except sqlite3.Error as error:
                raise ChaosError(
                    f"the journal {self.path} cannot be written: {error}; look at that disk's "
                    "free space and permissions, then run again"
                ) from error

    def begin(self, trial: Trial) -> None:
        """Record that a trial starts."""
        names = Trial.__dataclass_fields__
        row = [getattr(trial, name) for name in names]
        for listed in ("expected_violations", "violated"):
            row[list(names).index(listed)] = json.dumps(getattr(trial, listed))
        self._write(
            f"INSERT INTO trial ({', '.join(names)}) VALUES ({', '.join('?' * len(row))})",
            tuple(row),
        )

    def event(self, trial: str, round_number: int, event: Event) -> None:
        """Record one event of a round."""
        self._write(
            "INSERT INTO event (trial, round, at_ns, kind, lane, name, actor, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trial, round_number, event.at_ns, event.kind, event.lane, event.name,
                event.actor, json.dumps(event.data, default=str),
            ),
        )  # fmt: skip

    def log(self, trial: str, log: ServiceLog) -> None:
        """Record what a service wrote around the fault."""
        self._write(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?)",
            (trial, log.round, log.service, log.before_fault, log.after_fault),
        )

    def end_round(self, trial: str, ended: Round) -> None:
        """Record how a round ended."""
        self._write(
            "INSERT INTO round VALUES (?, ?, ?, ?, ?)",
            (trial, ended.number, ended.schedule, ended.verdict, ended.reason),
        )

    def end(
        self,
        trial: str,
        *,
        ended_ns: int,
        rounds: int,
        verdict: str,
        reason: str,
        violated: tuple[str, ...] = (),
        reproduce: str = "",
    ) -> None:
        """Record a trial's verdict; ``reproduce``, when given, is a more exact command."""
        self._write(
            "UPDATE trial SET ended_ns=?, rounds=?, verdict=?, reason=?, violated=?,"
            " reproduce=coalesce(nullif(?, ''), reproduce) WHERE id=?",
            (ended_ns, rounds, verdict, reason, json.dumps(violated), reproduce, trial),
        )

    def residue(self, found: str) -> None:
        """Record something that was left over after the run."""
        self._write("INSERT INTO residue VALUES (?)", (found,))

    def absorb(self, part: Path) -> None:
        """Copy everything from another journal; nothing from one that was only begun."""
        with self._lock:
            self._db.execute("ATTACH ? AS part", (str(part),))
            try:
                if self._db.execute("PRAGMA part.user_version").fetchone()[0] == 0:
                    return
                for table in ("trial", "round", "log", "residue"):
                    self._db.execute(f"INSERT INTO main.{table} SELECT * FROM part.{table}")
                columns = "trial, round, at_ns, kind, lane, name, actor, data"
                self._db.execute(
                    f"INSERT INTO main.event ({columns})"
                    f" SELECT {columns} FROM part.event ORDER BY seq"
                )
            finally:
                self._db.execute("DETACH part")

    # ------------------------------------------------------------------ reading

    def _read(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[sqlite3.Row]:
        with closing(self._db.cursor()) as cursor:
            cursor.row_factory = sqlite3.Row
            yield from cursor.execute(sql, values).fetchall()

    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in order of start."""
        rows = (dict(row) for row in self._read("SELECT * FROM trial ORDER BY started_ns"))
        lists = ("expected_violations", "violated")
        return tuple(
            Trial(**{**row, **{name: tuple(json.loads(row[name])) for name in lists}})
            for row in rows
        )

    def rounds(self, trial: str) -> tuple[Round, ...]:
        """The rounds of a trial, in order."""
        return tuple(
            Round(row["number"], row["schedule"], row["verdict"], row["reason"])
            for row in self._read("SELECT * FROM round WHERE trial=? ORDER BY number", (trial,))
        )

    def events(self, trial: str, round_number: int) -> tuple[Event, ...]:
        """The events of one round, in order."""
        return tuple(
            Event(
                row["at_ns"], Kind(row["kind"]), row["lane"], row["name"], row["actor"],
                json.loads(row["data"]),
            )
            for row in self._read(
                "SELECT * FROM event WHERE trial=? AND round=? ORDER BY seq", (trial, round_number)
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
