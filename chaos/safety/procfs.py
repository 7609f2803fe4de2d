"""What the kernel knows about processes of this machine: state, start time, the label of a run.

Standard library only, for the reaper's sake. Source: proc_pid_stat(5), proc_pid_environ(5).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from chaos.errors import ChaosError

LABEL = "CHAOS_RUN"
"""Environment variable that marks every process of a run; its value is the run's label."""

_PROC = Path("/proc")


def require_linux() -> None:
    """Say at once that local processes can only be looked after on Linux.

    Raises:
        ChaosError: this machine has no pidfds or no ``/proc``.
    """
    if not hasattr(os, "pidfd_open") or not (_PROC / "self" / "stat").exists():
        raise ChaosError(
            "local processes need Linux (5.4 or newer) with /proc mounted: no leftover could be"
            " found elsewhere; run the target as containers instead"
        )


def stat(pid: int) -> tuple[str, ...] | None:
    """Fields of ``/proc/<pid>/stat`` from the state on (its field 3); None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name (field 2) is in parentheses and may itself contain spaces and parentheses.
    return tuple(text.rpartition(")")[2].split())


def started(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot: with it, a recycled pid is told apart."""
    found = stat(pid)
    return int(found[19]) if found else None


def is_stopped(pid: int) -> bool:
    """Whether ``pid`` was stopped by a signal (SIGSTOP)."""
    found = stat(pid)
    return found is not None and found[0] == "T"


def group(pid: int) -> int | None:
    """The process group that ``pid`` belongs to."""
    found = stat(pid)
    return int(found[2]) if found else None


def command(pid: int) -> str:
    """Its command line for people, at most 120 characters."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return b" ".join(words).decode(errors="replace").strip()[:120] or "?"


def is_labelled(pid: int, label: str) -> bool:
    """Whether ``pid`` was executed for the run ``label``; False for other users' processes."""
    directory = _PROC / str(pid)
    try:
        if directory.stat().st_uid != os.geteuid():
            return False
        environment = (directory / "environ").read_bytes()
    except OSError:
        return False
    return f"{LABEL}={label}".encode() in environment.split(b"\0")


def labelled(label: str) -> Iterator[int]:
    """Every living process of this user that carries the run's label, this one excepted."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            pid = int(entry.name)
            if is_labelled(pid, label):
                yield pid


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent dies (prctl(2))."""
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
