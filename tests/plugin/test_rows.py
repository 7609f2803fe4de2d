"""Rows on the command line and in pytest: which plans show them, and how those ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.test_cli import PLAN, chaos

ROWS = "S1.1: money is kept\nS1.2: whatever\nS3.1: nothing\n"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan that shows two of three rows."""
    (tmp_path / "rows.yaml").write_text(ROWS)
    path = tmp_path / "crash.plan.yaml"
    path.write_text(f"scenario: [S1.1, S3.1]\n{PLAN.read_text()}")
    return path


def test_rows_tells_plans_last_verdicts_and_rows_without_a_plan(plan: Path, tmp_path: Path) -> None:
    before = chaos("rows", plan, cwd=tmp_path, expect=1).stdout
    assert "ledger" not in before  # nothing ran yet
    chaos("run", plan, cwd=tmp_path)
    told = chaos("rows", plan, cwd=tmp_path, expect=1).stdout
    assert told.count("crash-between-debit-and-credit  tests.ledger.ledger:target: PASS") == 2
    assert "catches 1" in told
    assert "without a plan (1): S1.2" in told
    (tmp_path / "rows.yaml").write_text(ROWS.replace("S1.2: whatever\n", ""))
    assert "every one of 2 rows has a plan" in chaos("rows", plan, cwd=tmp_path).stdout


def test_rows_shows_an_unexpected_verdict(plan: Path, tmp_path: Path) -> None:
    plan.write_text(plan.read_text().replace("before transfer.credit", "before teller.recover"))
    chaos("run", plan, "--no-bugs", cwd=tmp_path, expect=1)
    assert "VACUOUS in 1 of 1" in chaos("rows", plan, cwd=tmp_path, expect=1).stdout


def test_rows_needs_a_list(tmp_path: Path) -> None:
    (tmp_path / "crash.plan.yaml").write_text(PLAN.read_text())
    assert "no rows.yaml" in chaos("rows", tmp_path, cwd=tmp_path, expect=2).stderr


def test_a_report_names_the_rows(plan: Path, tmp_path: Path) -> None:
    chaos("run", plan, "--no-bugs", cwd=tmp_path)
    assert "S1.1, S3.1" in (tmp_path / "chaos-results/report.html").read_text()


@pytest.mark.parametrize(("family", "chosen"), [("s3", 2), ("s1 and s3", 2), ("not s1", 0)])
def test_a_family_of_rows_is_chosen_by_its_marker(
    project: pytest.Pytester, plan: Path, family: str, chosen: int
) -> None:
    for name in ("rows.yaml", "crash.plan.yaml"):
        (project.path / name).write_text((plan.parent / name).read_text())
    result = project.runpytest_subprocess("--collect-only", "-q", "--strict-markers", "-m", family)
    assert len([line for line in result.outlines if "::crash" in line]) == chosen
