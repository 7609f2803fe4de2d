"""The results folder: one journal, and the reports rendered from it."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

from chaos.errors import ChaosError
from chaos.journal.claim import Claim, run_of
from chaos.journal.journal import Journal
from chaos.language import catalogue

JOURNAL = "journal.sqlite"
FILES = {"html": "report.html", "junit": "junit.xml", "markdown": "summary.md"}
"""Kind of report → the name of its file."""
_PART = ".{}.part.sqlite"
"""The journal of one process of a run."""


def begin(results: Path, part: str = "", run: str = "") -> Journal:
    """A new journal in the folder, in place of the one of the run before.

    ``part`` names one of several processes of the run ``run``: its journal is a file of its own,
    which :func:`absorb_parts` puts into the run's. Until the journal is closed no other run can
    begin one in the same folder.

    Raises:
        ChaosError: another run writes there, or nothing can be written there.
    """
    run = run or uuid.uuid4().hex
    try:
        results.mkdir(parents=True, exist_ok=True)
        claim = Claim(results, run, part or "main")
    except OSError as error:
        raise _unwritable(results, error) from error
    try:
        for stale in results.glob(_PART.format("*")):  # a killed run's
            if run_of(stale) != run:
                _remove(stale)
        if part:
            return Journal(results / _PART.format(f"{run}-{part}"), on_close=claim.release)
        for name in (JOURNAL, *FILES.values()):
            _remove(results / name)
        return Journal(results / JOURNAL, on_close=claim.release)
    except BaseException as error:
        claim.release()
        if isinstance(error, OSError | sqlite3.Error):
            raise _unwritable(results, error) from error
        raise


def _unwritable(results: Path, error: Exception) -> ChaosError:
    return ChaosError(f"no results can be written to the folder {results}: {error}")


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def finish(journal: Journal, results: Path) -> list[Path]:
    """Write the reports; a folder that was lost meanwhile is told as left over, which is red.

    Raises:
        ChaosError: a report cannot be written; the journal is whole.
    """
    try:
        if journal.is_lost:
            journal.residue(f"the results folder {results} was deleted or replaced during the run")
            if results.exists():
                return []  # it is somebody else's by now
            results.mkdir(parents=True)
            journal.copy(results / JOURNAL)
        return write_reports(journal, results)
    except (OSError, sqlite3.Error) as error:
        raise _unwritable(results, error) from error


def write_reports(journal: Journal, results: Path) -> list[Path]:
    """Render every kind of report that is installed; the paths, the journal's first."""
    written = [results / JOURNAL]
    for kind in catalogue.reports():
        path = results / FILES.get(kind, f"report.{kind}")
        catalogue.report(kind)(journal, path)
        written.append(path)
    return written


def parts(results: Path, run: str) -> list[Path]:
    """The journals of the processes of a run."""
    return sorted(results.glob(_PART.format(f"{run}-*")))


def absorb_parts(journal: Journal, results: Path, run: str) -> None:
    """Move what the processes of a run wrote into its one journal.

    A part that cannot be read stays where it is and is told as left over, which makes the run red:
    its trials are missing.
    """
    for part in parts(results, run):
        try:
            journal.absorb(part)
        except ChaosError as error:
            journal.residue(f"the trials of one process are missing: {error}")
            continue
        _remove(part)
