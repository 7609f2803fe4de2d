"""The reaper: a small process that outlives the runner and leaves nothing of its run behind.

It waits for the end of the runner. When the runner says good-bye it exits and does nothing. When
the runner dies without a word (SIGKILL too), it undoes what the undo log holds open, ends every
process that carries the run's label, and removes the run directory if that was temporary.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Executed by path and isolated (no site, no environment): found where the runner found it.
    sys.path[:] = json.loads(sys.argv[1])["sys_path"]

from chaos.errors import ChaosError
from chaos.safety import procfs
from chaos.safety.undo import UndoLog

_GOOD_BYE = b"."
_KILLING_LIMIT_S = 10.0
_NOT_FOR_THE_REAPER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Reaper:
    """Guards one run for as long as it is entered.

    ``label`` is the value of ``CHAOS_RUN`` in the run's processes; ``remove_run_dir`` tells that
    the run directory is temporary and goes when the runner dies. Enter it before anything that
    carries the label is started.

    Raises:
        ChaosError: not on Linux.
    """

    def __init__(self, label: str, run_dir: Path, remove_run_dir: bool) -> None:
        procfs.require_linux()
        self.label = label
        self.run_dir = run_dir.resolve()
        self.remove_run_dir = remove_run_dir
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it is on guard."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Put it on guard; takes a few milliseconds, and its own start-up need not be awaited."""
        if self._process is not None:
            raise ChaosError(f"the reaper of run {self.label} is on guard already")
        runner = os.pidfd_open(os.getpid())
        order = {
            "label": self.label,
            "run_dir": str(self.run_dir),
            "remove_run_dir": self.remove_run_dir,
            "runner": runner,
            # Ourselves last: an editable install is not on the path, and -S knows no finder for it.
            "sys_path": [
                *(str(Path(entry).absolute()) for entry in sys.path),
                str(Path(__file__).parents[2]),
            ],
        }
        # Blocked here and so, across fork and exec, in the reaper from its first instruction on.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_THE_REAPER)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                # Not the runner's: a nested run must not take its own reaper for one of its parts.
                env={"PATH": os.defpath},
                pass_fds=(runner,),
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(runner)

    def close(self) -> None:
        """Say good-bye: the run ended in order, nothing is to be done. Safe to call twice."""
        self._end(_GOOD_BYE)

    def reap(self) -> None:
        """Have it do now what it does when the runner dies, and wait until that is done."""
        self._end(b"")

    def _end(self, last_word: bytes) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            process.communicate(last_word)
        except BrokenPipeError:
            process.wait()

    def __enter__(self) -> Reaper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reap(label: str, run_dir: Path, remove_run_dir: bool) -> None:
    """Undo, kill and remove what is left of a run; each step is tried whatever the others did."""
    try:
        UndoLog(run_dir).undo_all()
    except Exception as error:
        _complain(run_dir, error)
    kill_labelled(label, _KILLING_LIMIT_S)
    if remove_run_dir:
        shutil.rmtree(run_dir, ignore_errors=True)


def kill_labelled(label: str, limit_s: float, names: Collection[str] = ()) -> None:
    """SIGKILL every process that carries the label, until none is left (or ``limit_s`` passed).

    With ``names`` only those that are called so (:func:`chaos.safety.procfs.name`).
    """
    end = time.monotonic() + limit_s
    while (pids := tuple(procfs.labelled(label, names))) and time.monotonic() < end:
        for pid in pids:
            _kill(pid, label, end)


def _kill(pid: int, label: str, end: float) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at again while the pidfd is held: the pid may have been recycled before.
        if procfs.is_labelled(pid, label):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], max(0.0, end - time.monotonic()))
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _complain(run_dir: Path, error: Exception) -> None:
    if run_dir.is_dir():
        with (run_dir / "reaper.log").open("a") as log:
            print(f"{type(error).__name__}: {error}", file=log)


def _wait_for_the_runner(runner: int) -> bool:
    """Whether the runner died without a good-bye.

    The pidfd says so even when a process forked from the runner still holds the pipe open.
    """
    readable, _, _ = select.select([sys.stdin.fileno(), runner], [], [])
    if sys.stdin.fileno() not in readable:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
    return not readable or os.read(sys.stdin.fileno(), 1) != _GOOD_BYE


def _main(order: dict[str, Any]) -> None:
    if _wait_for_the_runner(order["runner"]):
        reap(order["label"], Path(order["run_dir"]), order["remove_run_dir"])


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
