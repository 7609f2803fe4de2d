"""What a target cannot run is skipped and says why; ``--require`` turns it red."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.journal import Journal
from tests.plugin.test_cli import PLAN as FILE
from tests.plugin.test_cli import chaos
from tests.plugin.test_plugin import PLAN

SWITCH = "target `ledger` has no bug switch `lost-debit`; did you mean `lost-credit`?"
LINKS = "target `ledger` has no capability `links`"
TWO_BUGS = PLAN + "  lost-debit: [money-is-kept]\n"
NEEDY = PLAN + "needs: [links]\n"
BY_HAND = """
from chaos import Plan, inject, step

PLAN = Plan(
    name="by-hand",
    given=[step("account.open", name=name, amount=9) for name in ("alice", "bob")],
    during=[step("transfer", source="alice", target="bob", amount=3)],
    inject=[inject("crash", at="before transfer.credit")],
    needs=["links"],
)

def test_recovers(chaos):
    chaos.check(PLAN)
"""


# ---------------------------------------------------------------------- pytest


def test_a_bug_switch_that_the_target_lacks_is_a_skipped_test_and_says_so(
    project: pytest.Pytester,
) -> None:
    project.makefile(".plan.yaml", crash=TWO_BUGS)
    result = project.runpytest_subprocess("-v", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*::crash[[]lost-debit] SKIPPED*"])
    result.stdout.fnmatch_lines([f"SKIPPED*crash.plan.yaml:1: {_plain(SWITCH)}"])


def test_a_capability_that_the_target_lacks_skips_every_case(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=NEEDY)
    result = project.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines([f"SKIPPED*{LINKS}*"])


@pytest.mark.parametrize(("text", "reason"), [(TWO_BUGS, SWITCH), (NEEDY, LINKS)])
def test_what_is_required_and_cannot_be_run_is_red(
    project: pytest.Pytester, text: str, reason: str
) -> None:
    project.makefile(".plan.yaml", crash=text)
    result = project.runpytest_subprocess("--chaos-require")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 1
    assert "skipped" not in outcomes
    result.stdout.fnmatch_lines([f"Skipped: {_plain(reason)}*"])


@pytest.mark.parametrize(
    ("options", "outcomes"), [((), {"skipped": 1}), (("--chaos-require",), {"failed": 1})]
)
def test_a_hand_written_test_is_skipped_alike(
    project: pytest.Pytester, options: tuple[str, ...], outcomes: dict[str, int]
) -> None:
    project.makepyfile(BY_HAND)
    result = project.runpytest_subprocess("-rs", *options)
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines([f"*{LINKS}*"])


def test_workers_skip_alike(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=TWO_BUGS)
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=2, skipped=1)


def _plain(text: str) -> str:
    """For a pattern in which `[` and `?` mean something else."""
    return text.replace("[", "[[]").replace("?", "[?]")


# ---------------------------------------------------------------------- chaos run


@pytest.fixture
def needy(tmp_path: Path) -> Path:
    """A plan file that the ledger cannot run, but for the cases that are its neighbours."""
    path = tmp_path / "needy.plan.yaml"
    path.write_text(FILE.read_text() + "  lost-debit: [money-is-kept]\n")
    return path


def test_run_exits_0_where_a_case_was_skipped_and_says_why(tmp_path: Path, needy: Path) -> None:
    done = chaos("run", needy, cwd=tmp_path)
    assert SWITCH in done.stdout
    with Journal(tmp_path / "chaos-results/journal.sqlite", readonly=True) as journal:
        assert [(trial.bug, trial.verdict) for trial in journal.trials()] == [
            ("", "PASS"), ("lost-credit", "FAIL"), ("lost-debit", "SKIPPED"),
        ]  # fmt: skip


def test_run_exits_1_where_a_required_case_was_skipped(tmp_path: Path, needy: Path) -> None:
    done = chaos("run", needy, "--require", cwd=tmp_path, expect=1)
    assert SWITCH in done.stdout


def test_run_exits_0_where_nothing_that_is_required_was_skipped(tmp_path: Path) -> None:
    chaos("run", FILE, "--require", cwd=tmp_path)
