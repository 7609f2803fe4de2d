"""A service that is a process of this machine."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.errors import NotReady, TargetError
from chaos.safety import procfs
from chaos.target import Limits, ServiceState
from targets.processes.nursery import Nursery, tail
from targets.processes.readiness import HasPorts, look_for
from targets.topology import Notified, ServiceSpec


class LocalService:
    """A service (:class:`chaos.target.Service`), or a job, that is a process of this machine.

    ``program`` says what the warm parent is to start, asked for at every start; ``limits`` are
    those of the target, which the service's own go before.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        target: HasPorts,
        nursery: Nursery,
        program: Callable[[], Mapping[str, Any]],
        limits: Limits,
    ) -> None:
        self.name = spec.name
        self.limits = replace(
            limits,
            start_s=limits.start_s if spec.start_s is None else spec.start_s,
            stop_s=limits.stop_s if spec.stop_s is None else spec.stop_s,
        )
        self._spec = spec
        self._target = target
        self._nursery = nursery
        self._changed = nursery.changed
        self._program = program
        self._state = ServiceState.DEAD
        self._pid: int | None = None
        self._notify: socket.socket | None = None
        self._log_begin = 0
        self._asked_ns = 0
        self._killed = False
        self._succeeded = False
        self._end = "was never started"
        self._seen = ""

    def __repr__(self) -> str:
        return f"<{self.name}: {self.state}>"

    @property
    def log(self) -> Path:
        """File that collects its standard output and error over all restarts."""
        return self._nursery.logs / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id; None while dead."""
        return self._pid

    @property
    def state(self) -> ServiceState:
        """Its state now; whether it is frozen is the kernel's word, whoever froze it."""
        with self._changed:
            return ServiceState.FROZEN if self._is_frozen() else self._state

    def _is_frozen(self) -> bool:
        return self._pid is not None and procfs.is_stopped(self._pid)

    # ------------------------------------------------------------------ what is asked of it

    def start(self, deadline_s: float | None = None) -> None:
        """Start it and return when it is ready; does nothing when it is ready already.

        Raises:
            NotReady: it ended before it was ready, or was not ready after ``deadline_s`` seconds
                (default: its own limit) and was killed; says what was waited for, what was seen
                last, and how its log ends.
            TargetError: it is frozen, or its warm parent is gone.
        """
        limit_s = self.limits.start_s if deadline_s is None else deadline_s
        end = time.monotonic() + limit_s
        with self._changed:
            if self._is_frozen():
                raise TargetError(f"{self.name} is frozen; thaw it or kill it before starting it")
            if self._state is ServiceState.DEAD:
                self._log_begin = self.log.stat().st_size if self.log.exists() else 0
                self._seen = ""
                self._succeeded = False
                self._notify = self._nursery.spawn(self, self._program())
                self._state = ServiceState.STARTING
                self._asked_ns = time.monotonic_ns()
        self._wait_ready(end)
        if self._state is ServiceState.READY or self._succeeded:
            return
        late = self._state is ServiceState.STARTING
        self.kill()
        what = f"was not ready after {limit_s:g} s" if late else self._end
        raise NotReady(
            f"{self.name} {what}. Waited for {self._spec.ready}; last seen:"
            f" {self._seen or 'nothing'}. Its log ends with:\n{tail(self.log, self._log_begin)}"
        )

    def kill(self) -> None:
        """End it and its process group by SIGKILL and return when it is gone.

        Raises:
            TargetError: it was not gone within its limit.
        """
        self.send_kill()
        if not self.wait_dead(self.limits.stop_s):
            raise TargetError(
                f"{self.name} (process {self._pid}) was not gone {self.limits.stop_s:g} s"
                " after SIGKILL"
            )

    def send_kill(self) -> None:
        """Send the SIGKILL of :meth:`kill` without waiting for its effect."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pid is not None or self._state is ServiceState.DEAD,
                self.limits.stop_s,
            )
            if self._pid is not None and not self._killed:
                self._killed = True
                self._nursery.tell(self.name, "killed", pid=self._pid)
                self._nursery.say(name=self.name, signal=int(signal.SIGKILL))

    def freeze(self) -> None:
        """Stop it and its process group (SIGSTOP) and return when it stands still.

        Raises:
            TargetError: it is dead, or did not stand still within its limit.
        """
        with self._changed:
            if self._is_frozen():
                return
            if self._pid is not None:
                self._nursery.say(name=self.name, signal=int(signal.SIGSTOP))
                self._changed.wait_for(
                    lambda: self._pid is None or self._is_frozen(), self.limits.stop_s
                )
            if not self._is_frozen():
                how = self._end if self._pid is None else "does not stand still"
                raise TargetError(f"{self.name} {how}: it cannot be frozen")
            self._nursery.tell(self.name, "frozen", pid=self._pid)

    def thaw(self) -> None:
        """Let it run on; does nothing when it is not frozen."""
        with self._changed:
            if not self._is_frozen():
                return
            self._nursery.say(name=self.name, signal=int(signal.SIGCONT))
            self._changed.wait_for(lambda: not self._is_frozen(), self.limits.stop_s)
            self._nursery.tell(self.name, "thawed", pid=self._pid)

    def wait_dead(self, deadline_s: float) -> bool:
        """Wait until it has ended; False when it still lives after ``deadline_s`` seconds."""
        return self._wait_for(
            lambda: self._state is ServiceState.DEAD, time.monotonic() + deadline_s
        )

    def _wait_for(self, predicate: Callable[[], bool], end: float) -> bool:
        with self._changed:
            return self._changed.wait_for(predicate, max(0.0, end - time.monotonic()))

    def _wait_ready(self, end: float) -> None:
        """Return when it is no longer starting, or at the ``end``."""
        look = look_for(self._spec.ready, self._target, self, self._log_begin)
        if look is None:
            self._wait_for(lambda: self._state is not ServiceState.STARTING, end)
            return
        # What it does may be seen before it is heard that it runs.
        self._wait_for(lambda: self._pid is not None or self._state is ServiceState.DEAD, end)
        while self._state is ServiceState.STARTING and (left := end - time.monotonic()) > 0:
            seen = look(left)
            if not seen:
                self._ready()
                return
            # A look that the end cut short tells less than the one before it.
            if not self._seen or time.monotonic() < end:
                self._seen = seen
            self.wait_dead(min(left, self.limits.poll_s))

    # ------------------------------------------------------------------ what is heard of it

    def started(self, pid: int) -> None:
        """Its process runs."""
        self._pid = pid
        self._nursery.tell(self.name, "started", pid=pid)

    def heard(self, notify: socket.socket) -> None:
        """It said something on its notify socket."""
        said = notify.recv(4096).splitlines()
        if b"READY=1" not in said:
            self._seen = b" ".join(said).decode(errors="replace")
        elif isinstance(self._spec.ready, Notified):
            self._ready()

    def exited(self, **details: Any) -> socket.socket | None:
        """Its process ended; returns the notify socket, which is of no more use."""
        self._pid, notify, self._notify = None, self._notify, None
        self._state = ServiceState.DEAD
        self._killed = False
        self._succeeded = self._spec.is_job and details.get("code") == 0
        if "signal" in details:
            self._end = f"was ended by {signal.Signals(details['signal']).name}"
        else:
            self._end = f"ended with exit code {details['code']}"
        self._nursery.tell(self.name, "exited", **details)
        return notify

    def _ready(self) -> None:
        with self._changed:
            if self._state is ServiceState.STARTING:
                self._state = ServiceState.READY
                took_ms = round((time.monotonic_ns() - self._asked_ns) / 1e6, 1)
                self._nursery.tell(self.name, "ready", pid=self._pid, took_ms=took_ms)
