"""What the kernel tells of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from chaos.safety import procfs

SPINS = """
import signal, threading, time
def spin():
    while time.thread_time() < 0.05: pass
thread = threading.Thread(target=spin)
thread.start()
thread.join()
print(flush=True)
signal.pause()
"""

Run = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def spun() -> Iterator[Run]:
    """Starts a process whose thread used 50 ms and ended, and which does nothing any more."""
    with ExitStack() as stack:

        def run() -> subprocess.Popen[bytes]:
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", SPINS], stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            return process

        yield run


def test_the_time_of_all_threads_counts(spun: Run) -> None:
    assert procfs.cpu_ns([spun().pid]) >= 50_000_000


def test_a_process_that_does_nothing_uses_no_time(spun: Run) -> None:
    pid = spun().pid
    until = os.times().elapsed + 10.0
    # It has said that it is done a moment before it stands still.
    while not (_sleeps(pid) and len({procfs.cpu_ns([pid]) for _ in range(1000)}) == 1):
        assert os.times().elapsed < until


def _sleeps(pid: int) -> bool:
    found = procfs.stat(pid)
    return found is not None and found[0] == "S"


def test_this_process_uses_time_by_being_asked() -> None:
    before = procfs.cpu_ns([os.getpid()])

    assert procfs.cpu_ns([os.getpid()]) > before


def test_processes_are_added_up(spun: Run) -> None:
    assert procfs.cpu_ns([spun().pid, spun().pid]) >= 100_000_000


def test_a_process_that_is_gone_counts_as_nothing(spun: Run) -> None:
    process = spun()
    process.kill()
    process.wait()

    assert procfs.cpu_ns([process.pid]) == 0


def test_a_dead_process_that_nobody_has_waited_for_is_not_alive(spun: Run) -> None:
    process = spun()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert not procfs.is_alive(process.pid)


def test_a_process_carries_the_label_from_the_moment_it_is_executed() -> None:
    """Its parent goes on a moment before the kernel has given it its environment."""
    for _ in range(200):
        with subprocess.Popen(["sleep", "10"], env={**os.environ, procfs.LABEL: "seen"}) as process:
            seen = procfs.is_labelled(process.pid, "seen")
            process.kill()
        assert seen


def test_a_process_without_arguments_and_environment_is_not_waited_for() -> None:
    assert not procfs.is_labelled(2, "seen")  # kthreadd
