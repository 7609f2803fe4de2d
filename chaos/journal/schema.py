"""The tables of a journal, and how a file of an older version gets them."""

from __future__ import annotations

import hashlib
import sqlite3

VERSION = 3
"""What ``PRAGMA user_version`` says; 0: the file was only begun."""

TABLES = ("document", "trial", "round", "event", "log", "residue")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (   -- plans as YAML, each once however often it was run
    hash TEXT PRIMARY KEY,              -- content_hash() of the text
    text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trial (      -- one plan, with one set of bug switches: one verdict
    id TEXT PRIMARY KEY,                -- e.g. 7c1e4a09f2d3
    plan TEXT NOT NULL,                 -- name of the plan
    case_name TEXT NOT NULL DEFAULT '', -- which case of its matrix, '' when it has none
    title TEXT NOT NULL,
    scenario TEXT NOT NULL,
    source TEXT NOT NULL,               -- where the scenario comes from, e.g. LP#2067869
    bug TEXT NOT NULL,                  -- bug switch that is on, '' for none
    target TEXT NOT NULL,
    document TEXT NOT NULL,             -- document.hash of the plan: enough to run it again
    location TEXT NOT NULL,             -- file the plan came from, '' when written in Python
    reproduce TEXT NOT NULL,            -- a shell command
    started_unix REAL NOT NULL,
    started_ns INTEGER NOT NULL,        -- monotonic
    ended_ns INTEGER,                   -- NULL: the runner died in this trial
    rounds INTEGER NOT NULL DEFAULT 0,  -- how many times it was executed (a race: once per order)
    verdict TEXT,                       -- PASS, FAIL, VACUOUS, ERROR, SKIPPED
    expected TEXT NOT NULL,             -- PASS, or FAIL when a bug switch must be caught, '' any
    expected_violations TEXT NOT NULL,  -- JSON list of invariant names
    reason TEXT NOT NULL DEFAULT '',    -- the verdict in words, evidence included
    violated TEXT NOT NULL DEFAULT '[]',-- JSON list: names of the invariants that did not hold
    note TEXT NOT NULL DEFAULT '',      -- what is to be said beside the verdict
    required INTEGER NOT NULL DEFAULT 0 -- 1: that it is SKIPPED needs a person
);
CREATE TABLE IF NOT EXISTS round (      -- an execution of the plan that is listed: see retention
    trial TEXT NOT NULL REFERENCES trial(id),
    number INTEGER NOT NULL,            -- from 1
    schedule TEXT NOT NULL,             -- the choices that were made, '' where there were none
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (trial, number)
);
CREATE TABLE IF NOT EXISTS event (      -- of the running round, and of those that are kept whole
    seq INTEGER PRIMARY KEY,
    trial TEXT NOT NULL REFERENCES trial(id),
    round INTEGER NOT NULL,
    number INTEGER NOT NULL DEFAULT 0,  -- place in the round's history; 0: seq says it
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

# Version 1 repeated the whole document in each trial, and kept every event in order of writing.
_FROM_1 = """
CREATE TABLE document (hash TEXT PRIMARY KEY, text TEXT NOT NULL);
INSERT OR IGNORE INTO document SELECT content_hash(document), document FROM trial;
UPDATE trial SET document = content_hash(document);
UPDATE trial SET rounds = (SELECT count(*) FROM round WHERE round.trial = trial.id)
    WHERE ended_ns IS NULL;
ALTER TABLE trial ADD COLUMN case_name TEXT NOT NULL DEFAULT '';
ALTER TABLE trial ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
"""

# Version 2 took every skip for one that nobody minds.
_FROM_2 = "ALTER TABLE trial ADD COLUMN required INTEGER NOT NULL DEFAULT 0;"

_STEPS = {0: _SCHEMA, 1: _FROM_2 + _FROM_1, 2: _FROM_2}
"""Version of a file → what makes it one of the present version."""


def content_hash(text: str) -> str:
    """The name under which a document is stored."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def version_of(db: sqlite3.Connection) -> int:
    """The version of the file; 0 when nothing was written yet."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def upgrade(db: sqlite3.Connection) -> None:
    """Make the file one of the present version, in one transaction.

    Raises:
        sqlite3.Error: that failed; the file is as it was.
    """
    version = version_of(db)
    if version == VERSION:
        return
    db.create_function("content_hash", 1, content_hash, deterministic=True)
    with db:  # rolls back
        db.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[version]} PRAGMA user_version={VERSION}; COMMIT;"
        )
