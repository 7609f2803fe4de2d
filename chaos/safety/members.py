"""The processes of one run, told by what a process cannot shed, and by the label.

A program may clear its environment or overwrite it (as PostgreSQL and Redis do), and leave its
session and its parent. It stays a descendant of the reaper, which adopts orphans, and in the run's
control group where there is one. The label finds what was started elsewhere.

Standard library only, for the reaper's sake.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from chaos.safety import cgroup, procfs


@dataclass(frozen=True, slots=True)
class Members:
    """The processes of the run ``label``, but for this process and ``above``.

    What descends from ``above`` (the reaper, a warm parent) belongs to the run, and so does what is
    in the control group ``group``, what carries the label, and what descends from these.
    """

    label: str
    above: int | None = None
    group: Path | None = None

    def living(self, names: Collection[str] = ()) -> tuple[int, ...]:
        """Those that live now; with ``names`` only those that are called so."""
        roots = {*procfs.labelled(self.label), *self._grouped()}
        if self.above is not None:
            roots.add(self.above)
        found = (roots | procfs.descendants(roots)) - {os.getpid(), self.above}
        return tuple(
            pid
            for pid in sorted(found)
            if procfs.is_alive(pid) and (not names or procfs.name(pid) in names)
        )

    def kill(self, limit_s: float, names: Collection[str] = ()) -> None:
        """SIGKILL those that live (:meth:`living`), until none does or ``limit_s`` has passed."""
        end = time.monotonic() + limit_s
        while (pids := self.living(names)) and time.monotonic() < end:
            for pid in pids:
                self._kill(pid, end)

    def _kill(self, pid: int, end: float) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Looked at again while the pidfd is held: the pid may have been recycled before.
            if self._has(pid):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [], max(0.0, end - time.monotonic()))
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)

    def _has(self, pid: int) -> bool:
        grouped = {*self._grouped()}
        return any(
            one == self.above or one in grouped or procfs.is_labelled(one, self.label)
            for one in (pid, *procfs.ancestors(pid))
        )

    def _grouped(self) -> Collection[int]:
        return [] if self.group is None else list(cgroup.members(self.group))
