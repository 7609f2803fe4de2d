"""The command line, as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.journal import Journal
from tests.conftest import LEDGER

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "tests/ledger/crash-between-debit-and-credit.plan.yaml"


def chaos(*arguments: str | Path, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder and require its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *map(str, arguments)],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_run_exits_0_when_every_verdict_is_as_expected_and_names_the_results(
    tmp_path: Path,
) -> None:
    done = chaos("run", PLAN, cwd=tmp_path)
    assert "lost-credit" in done.stdout
    for name in ("journal.sqlite", "report.html", "junit.xml"):
        assert f"chaos-results/{name}" in done.stdout
        assert (tmp_path / "chaos-results" / name).stat().st_size > 0


def test_run_exits_1_for_an_unexpected_verdict_and_says_why(tmp_path: Path) -> None:
    vacuous = tmp_path / "vacuous.plan.yaml"
    vacuous.write_text(PLAN.read_text().replace("before transfer.credit", "before teller.recover"))
    done = chaos("run", vacuous, "--no-bugs", cwd=tmp_path, expect=1)
    assert "`before teller.recover` was never reached" in done.stdout


def test_the_reproduce_command_runs_the_same_trial_again(tmp_path: Path) -> None:
    done = chaos("run", PLAN, "--bug", "lost-credit", cwd=tmp_path)
    again = next(line for line in done.stdout.splitlines() if line.strip().startswith("chaos run"))
    chaos(*again.split()[1:], cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/journal.sqlite", readonly=True) as journal:
        assert [(trial.bug, trial.verdict) for trial in journal.trials()] == [
            ("lost-credit", "FAIL")
        ]


def test_a_trial_is_replayed_by_how_its_id_starts(tmp_path: Path) -> None:
    chaos("run", PLAN, "--bug", "lost-credit", cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/journal.sqlite", readonly=True) as journal:
        (trial,) = journal.trials()
    chaos("replay", trial.id[:6], cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/replay/journal.sqlite", readonly=True) as journal:
        (again,) = journal.trials()
    assert (again.plan, again.bug, again.verdict) == (trial.plan, trial.bug, trial.verdict)


def test_an_emitted_plan_is_valid(tmp_path: Path) -> None:
    chaos("run", PLAN, "--no-bugs", cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/journal.sqlite", readonly=True) as journal:
        (trial,) = journal.trials()
    emitted = tmp_path / "emitted.plan.yaml"
    emitted.write_text(chaos("replay", trial.id, "--emit", cwd=tmp_path).stdout)
    chaos("validate", emitted, "--target", LEDGER, cwd=tmp_path)


def test_a_report_can_be_rendered_again(tmp_path: Path) -> None:
    chaos("run", PLAN, "--no-bugs", cwd=tmp_path)
    report = tmp_path / "chaos-results/report.html"
    first = report.read_text()
    for journal in ((), ("chaos-results",), ("chaos-results/journal.sqlite",)):
        report.unlink(missing_ok=True)
        chaos("report", *journal, cwd=tmp_path)
        assert report.read_text() == first


def test_validate_exits_2_and_names_the_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.plan.yaml"
    wrong.write_text(PLAN.read_text().replace("do: crash", "do: crsh"))
    done = chaos("validate", wrong, PLAN, "--target", LEDGER, cwd=tmp_path, expect=2)
    assert "wrong.plan.yaml:14: there is no fault `crsh`; did you mean `crash`?" in done.stderr
    assert "crash-between-debit-and-credit" in done.stdout


def test_validate_names_the_line_of_a_target_that_does_not_exist_and_goes_on(
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "wrong.plan.yaml"
    wrong.write_text(
        PLAN.read_text().replace("target: tests.ledger.ledger:target", "target: refrence")
    )
    installed = next((ROOT / "suites").rglob("*.plan.yaml"))
    done = chaos("validate", wrong, installed, cwd=tmp_path, expect=2)
    assert "wrong.plan.yaml:3: there is no target `refrence`" in done.stderr
    assert str(installed) in done.stdout


def test_schema_is_json_and_knows_the_words_of_a_target(tmp_path: Path) -> None:
    schema = json.loads(chaos("schema", "--target", LEDGER, cwd=tmp_path).stdout)
    assert "transfer.credit" in schema["$defs"]["point"]["enum"]


def test_points_lists_every_kind_of_word(tmp_path: Path) -> None:
    listed = chaos("points", "--target", LEDGER, cwd=tmp_path).stdout
    for word in ("transfer.credit", "account.open", "crash", "money-is-kept", "lost-credit"):
        assert word in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nowhere"), "nowhere: no such file or folder"),
        (("run", PLAN, "--target", "refrence"), "did you mean `reference`?"),
        (("run", PLAN, "--plan", "crash"), "there is no plan `crash`"),
        (("run", PLAN, "--bug", "lost-crdit"), "did you mean `lost-credit`?"),
        (("replay", "abc"), "there is no journal"),
        (("points", "--target", LEDGER, "transfr"), "did you mean `transfer`"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_message_without_a_traceback(
    tmp_path: Path, arguments: tuple[str | Path, ...], message: str
) -> None:
    done = chaos(*arguments, cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def target(:", "system.py, line 1"),
        ("import nowhere", "system.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("def target():\n    return 1 / 0", "system.py:2: ZeroDivisionError: division by zero"),
        ("", "defines no function `target()`"),
    ],
    ids=["syntax", "import", "call", "empty"],
)
def test_a_broken_target_of_ones_own_is_one_message_that_says_where(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "system.py").write_text(text)
    done = chaos("points", "--target", "system.py", cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
