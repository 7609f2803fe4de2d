"""The results folder: one journal, and the reports rendered from it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from chaos.errors import ChaosError
from chaos.journal.journal import Journal
from chaos.language import catalogue

JOURNAL = "journal.sqlite"
FILES = {"html": "report.html", "junit": "junit.xml", "markdown": "summary.md"}
"""Kind of report → the name of its file."""


def begin(results: Path, part: str = "") -> Journal:
    """A new journal in the folder, in place of the one of the run before.

    ``part`` names one of several processes of a run: its journal is a file of its own, which
    :func:`absorb_parts` puts into the run's.

    Raises:
        ChaosError: nothing can be written there.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        if part:
            return Journal(results / f".{part}.part.sqlite")
        for name in (JOURNAL, *FILES.values()):
            for suffix in ("", "-wal", "-shm"):
                (results / f"{name}{suffix}").unlink(missing_ok=True)
        return Journal(results / JOURNAL)
    except (OSError, sqlite3.Error) as error:
        raise ChaosError(f"no results can be written to the folder {results}: {error}") from error


def write_reports(journal: Journal, results: Path) -> list[Path]:
    """Render every kind of report that is installed; the paths, the journal's first."""
    written = [results / JOURNAL]
    for kind in catalogue.reports():
        path = results / FILES.get(kind, f"report.{kind}")
        catalogue.report(kind)(journal, path)
        written.append(path)
    return written


def parts(results: Path) -> list[Path]:
    """The journals of the processes of a run."""
    return sorted(results.glob(".*.part.sqlite"))


def absorb_parts(journal: Journal, results: Path) -> None:
    """Move what the processes of a run wrote into its one journal.

    A part that cannot be read stays where it is and is told as left over, which makes the run red:
    its trials are missing.
    """
    for part in parts(results):
        try:
            journal.absorb(part)
        except ChaosError as error:
            journal.residue(f"the trials of one process are missing: {error}")
            continue
        for suffix in ("", "-wal", "-shm"):
            part.with_name(part.name + suffix).unlink(missing_ok=True)
