"""What becomes of the results when a run is interrupted, or disturbed, in the middle of a plan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.journal import Journal
from tests.conftest import LEDGER
from tests.plugin.conftest import QUICKLY

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
PLAN = f"""
plan: first
target: {LEDGER}
given:
  - account.open: {{name: alice, amount: 100}}
  - account.open: {{name: bob, amount: 0}}
during:
  - transfer: {{source: alice, target: bob, amount: 30}}
inject:
  - at: before transfer.credit
    do: crash
"""
HELD = PLAN.replace("first", "second").replace("do: crash", "do: {pause: {until: transfer}}")
CHAOS = ("-m", "chaos", "run", "plans.plan.yaml")
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", *QUICKLY.split(), "plans.plan.yaml")
WORKERS = (*PYTEST, "-n", "1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a plan that ends, and one that is held until it is let go or ended."""
    (tmp_path / "plans.plan.yaml").write_text(f"{PLAN}settle: 600\n---{HELD}settle: 600\n")
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    (project / "tmp").mkdir(exist_ok=True)
    return {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(project / "tmp")}


@contextmanager
def held(project: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A run in the middle of its second plan; killed at the end, if it still lives."""
    with subprocess.Popen(
        [sys.executable, *command], cwd=project, env=environment(project), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            results = project / "chaos-results"
            await_true(lambda: any(map(is_held, results.glob("*.sqlite"))), process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def is_held(journal: Path) -> bool:
    try:
        with Journal(journal, readonly=True) as opened:
            return any(
                event.data.get("action") == "pause"
                for trial in opened.trials()
                for event in opened.events(trial.id, 1)
            )
    except ChaosError:  # not begun yet
        return False


def await_true(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT_S
    while not happened():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def end(process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """Interrupt a run as a terminal does, all of its processes; what it said."""
    os.killpg(process.pid, number)
    return process.communicate(timeout=LIMIT_S)[0]


def again(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=environment(project), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=LIMIT_S,
    )  # fmt: skip


@pytest.mark.parametrize("command", [CHAOS, PYTEST], ids=["chaos", "pytest"])
def test_what_ran_before_an_interrupt_is_reported_and_that_it_was_interrupted(
    project: Path, command: tuple[str, ...]
) -> None:
    with held(project, *command) as process:
        said = end(process)

    assert process.returncode in {130, pytest.ExitCode.INTERRUPTED}
    assert "interrupted" in said
    assert "Traceback" not in said
    results = project / "chaos-results"
    with Journal(results / "journal.sqlite", readonly=True) as journal:
        first, second = journal.trials()
        assert (first.verdict, second.verdict, second.reason) == ("PASS", "ERROR", "interrupted")
        assert any(found.startswith("interrupted") for found in journal.residues())
    assert "interrupted" in (results / "report.html").read_text()
    assert "interrupted" in (results / "junit.xml").read_text()


def test_a_run_that_is_told_to_end_reports_what_ran(project: Path) -> None:
    with held(project, *CHAOS) as process:
        said = end(process, signal.SIGTERM)

    assert process.returncode == 130
    assert "interrupted: 1 of 2 cases were run to their end" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("first", "second"),
    [(CHAOS, WORKERS), (PYTEST, CHAOS), (WORKERS, WORKERS)],
    ids=["chaos-workers", "pytest-chaos", "workers-workers"],
)
def test_a_second_run_in_the_same_results_folder_is_refused(
    project: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    with held(project, *first) as process:
        refused = again(project, *second)

        assert "writes to the results folder" in refused.stdout.replace("\n", " ")
        assert refused.returncode in {1, 2}
        assert process.poll() is None
        assert any(map(is_held, (project / "chaos-results").glob("*.sqlite")))


def test_a_look_at_the_tests_leaves_a_running_run_alone(project: Path) -> None:
    with held(project, *WORKERS) as process:
        before = sorted((project / "chaos-results").iterdir())

        assert again(project, *PYTEST, "--collect-only").returncode == 0

        assert sorted((project / "chaos-results").iterdir()) == before
        assert process.poll() is None


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_results_that_were_lost_in_mid_run_are_red(project: Path, workers: tuple[str, ...]) -> None:
    (project / "plans.plan.yaml").write_text(PLAN)
    (project / "conftest.py").write_text(
        "import shutil\n"
        "def pytest_runtest_logreport(report):\n"
        "    if report.when == 'call':\n"
        "        shutil.rmtree('chaos-results', ignore_errors=True)\n"
    )

    done = again(project, *PYTEST, *workers)

    assert "chaos-results was deleted or replaced during the run" in done.stdout
    assert (done.returncode, "INTERNALERROR" in done.stdout) == (1, False)
