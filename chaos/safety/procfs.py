"""What the kernel knows about processes of this machine: state, start time, the label of a run.

Standard library only, for the reaper's sake. Source: proc_pid_stat(5), proc_pid_environ(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from chaos.errors import ChaosError

LABEL = "CHAOS_RUN"
"""Environment variable that marks every process of a run; its value is the run's label."""

_PROC = Path("/proc")

_EXECUTION_LIMIT_S = 1.0
"""How long execve(2) may take to give a process its arguments and environment."""


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
        # Asked very often, and three times as fast as by pathlib.
        descriptor = os.open(f"{_PROC}/{pid}/stat", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        text = os.read(descriptor, 4096).decode(errors="replace")
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    # The name (field 2) is in parentheses and may itself contain spaces and parentheses.
    return tuple(text.rpartition(")")[2].split())


def started(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot: with it, a recycled pid is told apart."""
    found = stat(pid)
    return int(found[19]) if found else None


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs or could: not when it has ended and only waits for its parent."""
    found = stat(pid)
    return found is not None and found[0] not in "ZX"


def is_stopped(pid: int) -> bool:
    """Whether ``pid`` was stopped by a signal (SIGSTOP)."""
    found = stat(pid)
    return found is not None and found[0] == "T"


def is_running(pid: int, *, but: int = 0) -> bool:
    """Whether a thread of ``pid`` runs, could if the machine let it, or waits for a disk.

    ``but`` is a thread that does not count.
    """
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return False
    for thread in threads:
        if thread.name == str(but):
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            text = (thread / "stat").read_text(errors="replace")
            if text.rpartition(")")[2].split()[0] in "RD":
                return True
    return False


def name(pid: int) -> str | None:
    """What the kernel calls it, at most 15 characters: mostly the name of its program."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return None


def group(pid: int) -> int | None:
    """The process group that ``pid`` belongs to."""
    found = stat(pid)
    return int(found[2]) if found else None


def parent(pid: int) -> int | None:
    """The parent of ``pid``: who adopted it, when it is an orphan."""
    found = stat(pid)
    return int(found[1]) if found else None


def ancestors(pid: int) -> Iterator[int]:
    """The parent of ``pid``, the parent's parent, and so on."""
    while above := parent(pid):
        yield above
        pid = above


def descendants(roots: Iterable[int]) -> set[int]:
    """Every process that descends from one of ``roots``, these excepted."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        children.setdefault(parent(pid) or 0, []).append(pid)
    found: set[int] = set()
    below = list(roots)
    while below:
        new = [child for child in children.get(below.pop(), ()) if child not in found]
        found.update(new)
        below += new
    return found


def command(pid: int) -> str:
    """Its command line for people, at most 120 characters."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return b" ".join(words).decode(errors="replace").strip()[:120] or "?"


def is_labelled(pid: int, label: str) -> bool:
    """Whether ``pid`` was executed for the run ``label``; only root sees other users' processes."""
    directory = _PROC / str(pid)
    try:
        if os.geteuid() not in (0, directory.stat().st_uid):
            return False
        environment = _environment(directory)
    except OSError:
        return False
    return f"{LABEL}={label}".encode() in environment.split(b"\0")


def _environment(directory: Path) -> bytes:
    """The environment of a process; of one that is just being executed, once it has one.

    The kernel sets it together with the arguments, a moment after the parent goes on.
    """
    end = time.monotonic() + _EXECUTION_LIMIT_S
    while not (directory / "cmdline").read_bytes() and time.monotonic() < end:
        (directory / "exe").readlink()  # fails for what will have none: the kernel's own, the dead
        os.sched_yield()
    return (directory / "environ").read_bytes()


def pids() -> Iterator[int]:
    """Every process of this machine."""
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def labelled(label: str) -> Iterator[int]:
    """Every living process that carries the run's label, this one excepted."""
    return (pid for pid in pids() if pid != os.getpid() and is_labelled(pid, label))


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time that these processes have used so far, in nanoseconds; those that are gone: 0.

    User and system time of all their threads, the ended ones too, but not of their children.
    """
    return sum(map(_cpu_ns, pids))


def _cpu_ns(pid: int) -> int:
    # What clock_getcpuclockid(3) returns: unlike /proc/<pid>/schedstat it counts every thread, and
    # unlike /proc/<pid>/stat it is finer than a clock tick.
    scheduled = 2  # CPUCLOCK_SCHED, linux/posix-timers.h
    try:
        return time.clock_gettime_ns(~pid << 3 | scheduled)
    except OSError:
        return 0


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent dies (prctl(2)).

    A change of user undoes it.
    """
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
