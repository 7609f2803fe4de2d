"""`chaos museum`, as a person meets it: what catches a bug, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LEDGER
from tests.plugin.test_cli import PLAN, chaos

FOLDER = Path("chaos-results/museum")
BLIND = """
plan: blind
target: tests.ledger.ledger:target
given:
  - account.open: {name: alice, amount: 100}
during:
  - account.open: {name: bob, amount: 0}
inject:
  - do: {restart: {service: teller}}
"""


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    """A plan that catches a bug, and one that cannot."""
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "crash.plan.yaml").write_text(PLAN.read_text())
    (folder / "blind.plan.yaml").write_text(BLIND)
    return folder


def museum(tmp_path: Path, *more: str | Path, expect: int = 0) -> dict[str, Any]:
    chaos("museum", "--target", LEDGER, "-n", "1", *more, cwd=tmp_path, expect=expect)
    found: dict[str, Any] = json.loads((tmp_path / FOLDER / "museum.json").read_text())
    return found


def test_each_bug_is_run_with_its_plans_and_these_by_themselves(
    plans: Path, tmp_path: Path
) -> None:
    told = museum(tmp_path, "--plans", plans, "--times", "3", "--off", "2")
    (kill,) = told["bugs"]["lost-credit"]["plans"]
    assert (kill["runs"], kill["caught"], kill["first"]) == (3, 3, 1)
    assert "money-is-kept" in kill["violated"]
    assert [(one["plan"], one["verdicts"]) for one in told["clean"]] == [
        ("crash-between-debit-and-credit", {"PASS": 2})
    ]
    readable = (tmp_path / FOLDER / "museum.md").read_text()
    assert "| lost-credit | `crash-between-debit-and-credit` | `money-is-kept` | 3 of 3 | 1 |" in (
        readable
    )
    report = (tmp_path / FOLDER / "report.html").read_text()
    assert "Bugs, and the plans that catch them" in report
    assert "3 of 3" in report


def test_the_whole_matrix_has_the_plans_that_stay_green(plans: Path, tmp_path: Path) -> None:
    told = museum(tmp_path, "--plans", plans, "--all")
    found = {kill["plan"]: kill for kill in told["bugs"]["lost-credit"]["plans"]}
    assert found["blind"]["verdicts"] == {"PASS": 1}
    assert not found["blind"]["own"]
    assert found["crash-between-debit-and-credit"]["caught"] == 1
    assert "1 plan" in (tmp_path / FOLDER / "report.html").read_text()


def test_a_bug_that_its_plan_does_not_catch_is_red(plans: Path, tmp_path: Path) -> None:
    crash = plans / "crash.plan.yaml"
    crash.write_text(crash.read_text().replace("[money-is-kept]", "[recoverable]"))
    told = museum(tmp_path, "--plans", crash, expect=1)
    assert not told["bugs"]["lost-credit"]["caught"]


def test_a_bug_without_a_plan_is_red(plans: Path, tmp_path: Path) -> None:
    told = museum(tmp_path, "--plans", plans / "blind.plan.yaml", expect=1)
    assert told["bugs"]["lost-credit"] == {
        "summary": told["bugs"]["lost-credit"]["summary"], "caught": False, "plans": [],
    }  # fmt: skip
    assert "**no plan**" in (tmp_path / FOLDER / "museum.md").read_text()


def test_an_unknown_switch_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    done = chaos("museum", "lost-credits", "--target", LEDGER, cwd=tmp_path, expect=2)
    assert "did you mean `lost-credit`?" in done.stderr


def test_a_plan_that_withstands_a_bug_must_pass_with_its_switch_on(
    plans: Path, tmp_path: Path
) -> None:
    blind, crash = plans / "blind.plan.yaml", plans / "crash.plan.yaml"
    blind.write_text(BLIND + "withstands: [lost-credit]\n")
    crash.write_text(crash.read_text().replace("bugs:\n  lost-credit: [money-is-kept]", ""))
    done = chaos("run", blind, cwd=tmp_path)
    assert done.stdout.count("lost-credit") >= 1
    crash.write_text(crash.read_text() + "withstands: [lost-credit]\n")
    done = chaos("run", crash, cwd=tmp_path, expect=1)
    assert "expected PASS" in done.stdout
