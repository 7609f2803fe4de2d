"""The reaper: however the runner dies, nothing of its run is left, and nothing else is hurt."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.safety import procfs
from chaos.safety.reaper import Reaper
from chaos.safety.undo import RemovePath, UndoLog

LIMIT_S = 60.0
ROOT = Path(__file__).parents[2]


class Runner:
    """A runner in a process of its own, at the moment at which it is to die."""

    def __init__(self, *command: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=cwd
        )
        assert self.process.stdout is not None
        self.reaper = os.pidfd_open(int(self.process.stdout.readline()))
        self.moment = self.process.stdout.readline().strip()

    def die(self, number: int = signal.SIGKILL) -> bool:
        """Whether the reaper had ended by the limit."""
        self.process.send_signal(number)
        self.process.wait(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        ended, _, _ = select.select([self.reaper], [], [], LIMIT_S)
        os.close(self.reaper)
        return bool(ended)


def runner_of_ledger(label: str, run_dir: Path, moment: str) -> Runner:
    return Runner("-m", "tests.processes.runner", label, str(run_dir), moment, cwd=ROOT)


def bare_runner(label: str, run_dir: Path, remove: bool) -> Runner:
    return Runner(
        "-c",
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from chaos.safety.reaper import Reaper\n"
        f"reaper = Reaper({label!r}, Path({str(run_dir)!r}), {remove})\n"
        "reaper.start()\n"
        "print(reaper.pid, flush=True)\n"
        "print('on guard', flush=True)\n"
        "signal.pause()\n",
        # Far from the sources, as a user is: nothing is importable by accident.
        cwd=run_dir.parent,
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def stray(label: str) -> Iterator[subprocess.Popen[bytes]]:
    """A labelled process in a session of its own."""
    command = ["sleep", "1000"]
    with subprocess.Popen(command, env={"CHAOS_RUN": label}, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("moment", ["booted", "starting", "frozen"])
def test_a_runner_killed_at_any_moment_leaves_no_process(
    label: str, run_dir: Path, moment: str
) -> None:
    runner = runner_of_ledger(label, run_dir, moment)

    assert (runner.moment, runner.die(), list(procfs.labelled(label))) == (moment, True, [])


@pytest.mark.parametrize("moment", ["booted", "starting", "frozen"])
def test_a_runner_killed_at_any_moment_leaves_no_temporary_directory(
    label: str, run_dir: Path, moment: str
) -> None:
    runner_of_ledger(label, run_dir, moment).die()

    assert not run_dir.exists()


def test_an_interrupted_runner_leaves_no_process(label: str, run_dir: Path) -> None:
    runner_of_ledger(label, run_dir, "booted").die(signal.SIGINT)

    assert list(procfs.labelled(label)) == []


def test_a_run_directory_that_is_not_temporary_stays(label: str, run_dir: Path) -> None:
    bare_runner(label, run_dir, remove=False).die()

    assert run_dir.exists()


def test_open_undos_are_executed_when_the_runner_dies(
    label: str, run_dir: Path, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    left.touch()
    UndoLog(run_dir).push(RemovePath(str(left)))

    bare_runner(label, run_dir, remove=False).die()

    assert not left.exists()


def test_a_labelled_process_that_left_every_group_and_session_is_ended(
    label: str, run_dir: Path, stray: subprocess.Popen[bytes]
) -> None:
    bare_runner(label, run_dir, remove=False).die()

    assert stray.wait(LIMIT_S) == -signal.SIGKILL


def test_a_process_without_the_label_is_never_touched(
    label: str, run_dir: Path, bystander: subprocess.Popen[bytes]
) -> None:
    bare_runner(label, run_dir, remove=False).die()

    assert bystander.poll() is None


def test_a_good_bye_leaves_labelled_processes_and_the_directory_alone(
    label: str, run_dir: Path, stray: subprocess.Popen[bytes]
) -> None:
    with Reaper(label, run_dir, remove_run_dir=True):
        pass

    assert (stray.poll(), run_dir.exists()) == (None, True)


def test_the_reaper_outlives_what_ends_a_process_group(label: str, run_dir: Path) -> None:
    with Reaper(label, run_dir, remove_run_dir=False) as reaper:
        assert reaper.pid is not None
        assert os.getsid(reaper.pid) == reaper.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_reaper_does_not_keep_it_from_its_work(
    label: str, run_dir: Path, number: signal.Signals
) -> None:
    runner = bare_runner(label, run_dir, remove=True)
    signal.pidfd_send_signal(runner.reaper, number)

    runner.die()

    assert not run_dir.exists()
