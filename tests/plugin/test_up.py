"""`chaos up` keeps a target running, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import LEDGER
from tests.plugin.test_interrupted import LIMIT_S, environment


@contextmanager
def up(project: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A target that has told how to get in."""
    with subprocess.Popen(
        [sys.executable, "-m", "chaos", "up", *arguments], cwd=project, env=environment(project),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            told = ""
            while "ctrl-C" not in told and (line := process.stdout.readline()):
                told += line
            yield process, told
        finally:
            if process.poll() is None:
                process.kill()


def run_dirs(project: Path) -> list[Path]:
    return [path for path in (project / "tmp").iterdir() if path.name.startswith("chaos-")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_all_that_it_started(tmp_path: Path, number: int) -> None:
    with up(tmp_path, "--target", LEDGER) as (process, told):
        assert "run directory" in told
        assert len(run_dirs(tmp_path)) == 1
        os.kill(process.pid, number)
        assert process.wait(LIMIT_S) == 0
    assert run_dirs(tmp_path) == []


def test_the_reaper_clears_up_after_one_that_was_killed(tmp_path: Path) -> None:
    with up(tmp_path, "--target", LEDGER) as (process, _):
        process.kill()
        assert process.wait(LIMIT_S) == -signal.SIGKILL
    end = time.monotonic() + LIMIT_S
    while run_dirs(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_bug_switch_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with up(tmp_path, "--target", LEDGER, "--bug", "nothing") as (process, _):
        assert process.wait(LIMIT_S) == 2
        assert process.stderr is not None
        assert "there is no bug switch `nothing`" in process.stderr.read()
    assert run_dirs(tmp_path) == []
