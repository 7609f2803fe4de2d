"""The pytest plugin, as a user's own pytest run sees it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.journal import Journal
from chaos.safety import procfs

ROOT = Path(__file__).parents[2]
PLAN = """
plan: crash
target: tests.ledger.ledger:target
given:
  - account.open: {name: alice, amount: 100}
  - account.open: {name: bob, amount: 0}
during:
  - transfer: {source: alice, target: bob, amount: 30}
inject:
  - at: before transfer.credit
    do: crash
bugs:
  lost-credit: [money-is-kept]
"""
BY_HAND = """
import pytest
from chaos import Plan, inject, step
from chaos.errors import Failed

PLAN = Plan(
    name="by-hand",
    given=[step("account.open", name=name, amount=9) for name in ("alice", "bob")],
    during=[step("transfer", source="alice", target="bob", amount=3)],
    inject=[inject("crash", at="before transfer.credit")],
)

def test_recovers(chaos):
    chaos.check(PLAN)

def test_sees_the_defect(chaos):
    with pytest.raises(Failed, match="money-is-kept"):
        chaos.run(PLAN, bug="lost-credit").raise_for_verdict()
"""


def test_a_plan_file_is_a_test_with_and_without_each_bug_switch(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    result = project.runpytest_subprocess("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::crash PASSED*", "*::crash[[]lost-credit] PASSED*"])


def test_the_results_are_written_and_named(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    result = project.runpytest_subprocess("--chaos-results=out")
    result.stdout.fnmatch_lines(["results: out/journal.sqlite out/report.html*"])
    with Journal(project.path / "out/journal.sqlite", readonly=True) as journal:
        assert [(trial.bug, trial.verdict) for trial in journal.trials()] == [
            ("", "PASS"),
            ("lost-credit", "FAIL"),
        ]
    assert "crash" in (project.path / "out/report.html").read_text()


def test_a_bug_that_nothing_notices_is_red(project: pytest.Pytester) -> None:
    blind = PLAN.replace("bugs:", "invariants: [no-negative-balance]\nbugs:")
    project.makefile(".plan.yaml", crash=blind)
    result = project.runpytest_subprocess("--chaos-bug=lost-credit")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*`lost-credit` is on, but nothing noticed*"])


def test_a_vacuous_plan_is_red_and_says_how_to_run_it_again(project: pytest.Pytester) -> None:
    never = PLAN.replace("at: before transfer.credit", "at: before teller.recover")
    project.makefile(".plan.yaml", crash=never)
    result = project.runpytest_subprocess("--chaos-no-bugs")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "Vacuous: The point `before teller.recover` was never reached*",
            "run it again: chaos run crash.plan.yaml --plan crash --no-bugs",
        ]
    )
    result.stdout.no_fnmatch_line("*engine.py*")


def test_a_misspelt_word_is_one_error_at_collection(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN.replace("do: crash", "do: crsh"))
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*crash.plan.yaml:10: there is no fault `crsh`; did you mean `crash`?"]
    )


def test_a_misspelt_bug_switch_is_an_error_not_an_empty_run(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    result = project.runpytest_subprocess("--chaos-bug=lost-crdit")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no bug switch `lost-crdit`; did you mean `lost-credit`?"])


def test_a_hand_written_test_uses_the_fixture(project: pytest.Pytester) -> None:
    project.makepyfile(BY_HAND)
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_hand_written_test_fails_with_the_reason_alone_and_says_how_to_run_it_again(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_own=BY_HAND.replace('at="before transfer.credit"', 'at="before teller.recover"')
    )
    result = project.runpytest_subprocess("-k", "test_recovers")
    result.stdout.fnmatch_lines(["E *Vacuous: The point `before teller.recover` was never*"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    with Journal(project.path / "chaos-results/journal.sqlite", readonly=True) as journal:
        assert journal.trials()[0].reproduce == "pytest test_own.py::test_recovers"


def test_a_configured_target_file_stands_beside_the_configuration(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(system="from tests.ledger.ledger import *")
    project.makeini("[pytest]\nchaos_target = system.py\n")
    plans = project.mkdir("plans")
    (plans / "own.plan.yaml").write_text(PLAN.replace("target: tests.ledger.ledger:target\n", ""))
    monkeypatch.chdir(plans)
    project.runpytest_subprocess("--chaos-no-bugs").assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_run_directory_that_is_kept_is_named(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    result = project.runpytest_subprocess("--chaos-keep", "--chaos-no-bugs", *workers)
    (line,) = (line for line in result.outlines if line.startswith("run directory kept: "))
    kept = Path(line.partition(": ")[2])
    assert (kept / "logs/teller.log").is_file()
    shutil.rmtree(kept)


def test_a_package_beside_the_target_that_hides_ours_is_one_clear_error(
    project: pytest.Pytester,
) -> None:
    project.makefile(".plan.yaml", crash=PLAN.replace("target: tests.ledger.ledger:target\n", ""))
    project.mkpydir("own").joinpath("system.py").write_text("from tests.ledger.ledger import *")
    (project.path / "own/reports").mkdir()
    (project.path / "own/reports/__init__.py").touch()
    result = project.runpytest_subprocess("--chaos-target=own/system.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["Your package `reports` at *own/reports hides ours at *"])


def test_results_that_cannot_be_written_are_one_clear_error(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    project.makefile(".txt", taken="")
    result = project.runpytest_subprocess("--chaos-no-bugs", "--chaos-results=taken.txt")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no results can be written to the folder *taken.txt: *"])
    result.stdout.no_fnmatch_line("*results.py*")


def test_each_xdist_worker_has_a_target_of_its_own_and_one_journal_remains(
    project: pytest.Pytester,
) -> None:
    project.makefile(".plan.yaml", one=PLAN, two=PLAN.replace("plan: crash", "plan: again"))
    result = project.runpytest_subprocess("-n", "2")
    result.assert_outcomes(passed=4)
    results = project.path / "chaos-results"
    with Journal(results / "journal.sqlite", readonly=True) as journal:
        assert len(journal.trials()) == 4
    assert not list(results.glob(".*"))


def test_the_options_are_a_group_of_their_own(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(["fault-injection chaos testing*", "*--chaos-target=*"])


def test_without_a_chaos_test_nothing_is_written_and_nothing_heavy_imported(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import sys

        def test_plain():
            heavy = {"pydantic", "ruamel.yaml", "sqlite3", "docker", "toxiproxy", "rich",
                     "chaos.engine", "chaos.plan", "targets", "openstack"}
            assert not heavy & set(sys.modules)
        """
    )
    project.runpytest_subprocess("-p", "no:allure_pytest").assert_outcomes(passed=1)
    assert not (project.path / "chaos-results").exists()


@pytest.mark.parametrize("name", ["chaos", "faults", "targets", "suites", "reports"])
def test_a_package_of_the_user_that_hides_ours_is_one_clear_error(
    project: pytest.Pytester, name: str
) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    project.mkpydir(name)
    result = project.run(sys.executable, "-m", "pytest")
    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    assert f"Your package `{name}` at {project.path / name} hides ours" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with a worker"])
def test_killed_in_the_middle_of_a_plan_it_leaves_nothing(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    held = PLAN.replace("do: crash", "do: {pause: {until: transfer}}").replace(
        "bugs:", "settle: 60\nbugs:"
    )
    project.makefile(".plan.yaml", held=held)
    results = project.path / "chaos-results"
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "--chaos-no-bugs", *workers],
        cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            _wait_until(lambda: any(map(_is_held, results.glob("*.sqlite"))), 60)
            run_dirs = _run_dirs(process.pid)
            label = run_dirs[0].name.removeprefix("chaos-").rpartition("-")[0]
            assert list(procfs.labelled(label))
        finally:
            os.kill(process.pid, signal.SIGKILL)
    _wait_until(lambda: not list(procfs.labelled(label)) and not run_dirs[0].exists(), 60)
    project.makefile(".plan.yaml", held=PLAN)
    project.runpytest_subprocess().assert_outcomes(passed=2)


def _is_held(journal: Path) -> bool:
    try:
        with Journal(journal, readonly=True) as opened:
            return any(
                event.name == "transfer.credit" and event.data.get("action") == "pause"
                for trial in opened.trials()
                for event in opened.events(trial.id, 1)
            )
    except ChaosError:  # not begun yet
        return False


def _run_dirs(runner: int) -> list[Path]:
    """Of a pytest process, or of its worker."""
    workers = procfs.descendants([runner])
    folder = Path(tempfile.gettempdir())
    return [path for pid in (runner, *workers) for path in folder.glob(f"chaos-{pid}-*")]


def _wait_until(happened: object, deadline_s: float) -> None:
    from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

    assert callable(happened)
    started = time.monotonic()
    Retrying(
        retry=retry_if_result(lambda value: not value),
        stop=stop_after_delay(deadline_s),
        wait=wait_fixed(0.02),
    )(happened)
    assert time.monotonic() - started < deadline_s
