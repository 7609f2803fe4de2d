"""What docs/extending.md shows works as it stands there."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from chaos.journal import Journal
from tests.plugin.test_cli import chaos

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/extending.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, re.DOTALL)


def shown(kind: str) -> str:
    return "\n\n".join(text for found, text in BLOCKS if found == kind)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the documented package is installed, and a target that has its words."""
    (tmp_path / "bank_chaos.py").write_text(shown("python"))
    info = tmp_path / "bank_chaos-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bank-chaos\nVersion: 1\n")
    entries = shown("toml").replace('[project.entry-points."', "[").replace('"]', "]")
    (info / "entry_points.txt").write_text(re.sub(r'"(.*)".*', r"\1", entries))
    (tmp_path / "system.py").write_text(
        "from tests.ledger.ledger import money_is_kept, target\n"
        "from bank_chaos import answers_are_true\n"
    )
    (tmp_path / "stall.plan.yaml").write_text(shown("yaml"))
    return tmp_path


@pytest.fixture
def journal(package: Path) -> Path:
    """The journal of a run of the documented plan, in which everything is as it must be."""
    chaos("run", "stall.plan.yaml", "--target=system.py", cwd=package)
    return package / "chaos-results/journal.sqlite"


def test_the_documented_fault_strikes_and_is_told(journal: Path) -> None:
    with Journal(journal, readonly=True) as opened:
        (trial,) = opened.trials()
        events = opened.events(trial.id, 1)
    assert trial.verdict == "PASS"
    assert [e.data["text"] for e in events if e.kind == "fault"] == ["stall teller"]


def test_the_documented_report_is_written(journal: Path) -> None:
    (line,) = (journal.parent / "report.csv").read_text().splitlines()
    assert line.startswith("the-teller-stalls-in-a-transfer,,,PASS,")


def test_the_documented_invariant_sees_a_teller_that_lies(package: Path) -> None:
    (package / "lie.plan.yaml").write_text(
        shown("yaml")
        .replace("do: {stall: {service: teller, seconds: 0.2}}", "do: {return: {value: true}}")
        .replace("before transfer.credit", "before transfer.debit")
    )
    chaos("run", "lie.plan.yaml", "--target=system.py", cwd=package, expect=1)
    with Journal(package / "chaos-results/journal.sqlite", readonly=True) as opened:
        assert "answers-are-true" in opened.trials()[0].violated


def test_the_documented_tables_are_those_of_a_journal(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as database:
        assert database.execute(shown("sql")).fetchall() == []
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        columns = {
            table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            for (table,) in tables.fetchall()
        }
        (version,) = database.execute("PRAGMA user_version").fetchone()
    assert documented_columns() == columns
    assert f"is the version, now {version}." in DOCUMENT.replace("\n", " ")


def documented_columns() -> Mapping[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.*) \|$", DOCUMENT, re.MULTILINE)
    return {table: set(re.findall(r"`(\w+)`", told)) for table, told in rows}
