"""A control group of the run's own, where this machine lets us make one (cgroups(7), version 2).

A process that is started inside stays inside, whatever it does to its environment, its session and
its parents. Standard library only, for the reaper's sake.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc/self")
_LIMIT_S = 2.0
_PAUSE_S = 0.002


def make(label: str) -> Path | None:
    """A new group below our own; None where that is not permitted, or there is no version 2."""
    try:
        own = _own()
        if own is None:
            return None
        group = own / f"chaos-{label}"
        group.mkdir()
    except OSError:
        return None
    return group


def join(group: Path) -> None:
    """Put this process, and all that it will start, into the group.

    Raises:
        OSError: it is not permitted.
    """
    (group / "cgroup.procs").write_text("0")


def members(group: Path) -> Iterator[int]:
    """The processes in it, and in what they have made below it; none when it is gone."""
    for directory, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            yield from map(int, (Path(directory) / "cgroup.procs").read_text().split())


def leave(group: Path) -> None:
    """Go back to where the group was made; nothing happens where that is not permitted."""
    with contextlib.suppress(OSError):
        join(group.parent)


def remove(group: Path) -> None:
    """Remove it, unless somebody is still inside."""
    end = time.monotonic() + _LIMIT_S
    while group.exists():
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        if next(members(group), None) is not None or time.monotonic() > end:
            return
        time.sleep(_PAUSE_S)  # the kernel lets go of who has died a moment later


def _own() -> Path | None:
    """The directory of the group that this process is in."""
    groups = (line.split(":", 2) for line in (_PROC / "cgroup").read_text().splitlines())
    path = next((path for number, _, path in groups if number == "0"), None)
    if path is None:
        return None
    for line in (_PROC / "mountinfo").read_text().splitlines():
        mounted, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            root, point = mounted.split()[3:5]
            if Path(path).is_relative_to(root):
                return Path(point) / Path(path).relative_to(root)
    return None
