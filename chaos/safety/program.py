"""A program that is executed in a session of its own, with descriptors at known numbers."""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST_DESCRIPTOR = 3
"""Where the first of the descriptors is found, as with sd_listen_fds(3)."""

_OUT_OF_THE_WAY = 64


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed. ``output``, a file, gets what it writes; it reads nothing.

    The executed program finds ``descriptors`` at :data:`FIRST_DESCRIPTOR` and the numbers after it.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    output: Path
    descriptors: tuple[int, ...] = ()

    def order(self) -> dict[str, Any]:
        """All but the descriptors, as JSON has it."""
        return {
            "arguments": self.arguments,
            "environment": dict(self.environment),
            "output": str(self.output),
        }

    @classmethod
    def of(cls, order: Mapping[str, Any], descriptors: tuple[int, ...]) -> Program:
        """The program of an order (:meth:`order`), with other descriptors."""
        return cls(
            tuple(order["arguments"]), order["environment"], Path(order["output"]), descriptors
        )


class Launched:
    """A process that was launched; ``pidfd`` is closed by :meth:`close`."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    def wait(self, limit_s: float | None = None) -> bool:
        """Whether it has ended within ``limit_s`` seconds (None: however long it takes)."""
        poll = select.poll()  # unlike select(2) it knows descriptors of any number
        poll.register(self._pidfd, select.POLLIN)
        ended = poll.poll(None if limit_s is None else limit_s * 1000)
        if ended:
            with suppress(ChildProcessError):  # it is the reaper's child, and collected there
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        return bool(ended)

    def kill(self) -> None:
        """SIGKILL it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Look at it no more."""
        os.close(self._pidfd)


Launch = Callable[[Program], Launched]
"""Executes a program.

Raises:
    OSError: it cannot be executed.
"""


def launch(program: Program) -> Launched:
    """Execute ``program`` as a child of this process."""
    pid = spawn(program)
    return Launched(pid, os.pidfd_open(pid))


def spawn(program: Program) -> int:
    """Execute ``program`` as a child of this process; its pid, which is this one's to collect.

    It starts with no signal blocked.
    """
    # Out of the way first: one that is moved to its place must not hit one that is still to move.
    moved = [
        fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        for descriptor in program.descriptors
    ]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.posix_spawn(
            program.arguments[0],
            program.arguments,
            program.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(program.output), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *(
                    (os.POSIX_SPAWN_DUP2, descriptor, FIRST_DESCRIPTOR + place)
                    for place, descriptor in enumerate(moved)
                ),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
        )
    finally:
        for descriptor in moved:
            os.close(descriptor)
