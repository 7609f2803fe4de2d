"""A service that is a process of this machine."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from chaos.errors import NotReady, TargetError
from chaos.safety import procfs
from chaos.target import ServiceState
from targets.processes.nursery import SIGNAL_LIMIT_S, Nursery, tail

_PROBE_INTERVAL_S = 0.005


class LocalService:
    """A service (:class:`chaos.target.Service`) that is a process of this machine.

    ``program`` says what the warm parent is to start, asked for at every start. It is ready when it
    says so to ``$NOTIFY_SOCKET`` (sd_notify(3)) or accepts connections on ``ready_port``.
    """

    def __init__(
        self,
        name: str,
        nursery: Nursery,
        program: Callable[[], Mapping[str, Any]],
        ready_port: Callable[[], int] | None,
    ) -> None:
        self.name = name
        self._nursery = nursery
        self._changed = nursery.changed
        self._program = program
        self._ready_port = ready_port
        self._state = ServiceState.DEAD
        self._pid: int | None = None
        self._notify: socket.socket | None = None
        self._asked_ns = 0
        self._killed = False
        self._end = "was never started"

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

    def start(self, deadline_s: float = 10.0) -> None:
        """Start it and return when it is ready; does nothing when it is ready already.

        Raises:
            NotReady: it ended before it was ready, or was not ready after ``deadline_s`` seconds
                and was killed; says how its log ends.
            TargetError: it is frozen, or its warm parent is gone.
        """
        end = time.monotonic() + deadline_s
        with self._changed:
            if self._is_frozen():
                raise TargetError(f"{self.name} is frozen; thaw it or kill it before starting it")
            if self._state is ServiceState.DEAD:
                self._notify = self._nursery.spawn(self, self._program())
                self._state = ServiceState.STARTING
                self._asked_ns = time.monotonic_ns()
        if self._ready_port is None:
            self._wait_for(lambda: self._state is not ServiceState.STARTING, end)
        else:
            self._wait_listening(self._ready_port(), end)
        if self._state is not ServiceState.READY:
            late = self._state is ServiceState.STARTING
            self.kill()
            what = f"was not ready after {deadline_s:g} s" if late else self._end
            raise NotReady(f"{self.name} {what}; its log {self.log} ends with:\n{tail(self.log)}")

    def kill(self) -> None:
        """End it and its process group by SIGKILL and return when it is gone.

        Raises:
            TargetError: it was not gone after ten seconds.
        """
        self.send_kill()
        if not self.wait_dead(SIGNAL_LIMIT_S):
            raise TargetError(f"{self.name} (process {self._pid}) did not die of SIGKILL")

    def send_kill(self) -> None:
        """Send the SIGKILL of :meth:`kill` without waiting for its effect."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pid is not None or self._state is ServiceState.DEAD, SIGNAL_LIMIT_S
            )
            if self._pid is not None and not self._killed:
                self._killed = True
                self._nursery.tell(self.name, "killed", pid=self._pid)
                self._nursery.say(name=self.name, signal=int(signal.SIGKILL))

    def freeze(self) -> None:
        """Stop it and its process group (SIGSTOP) and return when it stands still.

        Raises:
            TargetError: it is dead.
        """
        with self._changed:
            if self._is_frozen():
                return
            if self._pid is not None:
                self._nursery.say(name=self.name, signal=int(signal.SIGSTOP))
                self._changed.wait_for(
                    lambda: self._pid is None or self._is_frozen(), SIGNAL_LIMIT_S
                )
            if not self._is_frozen():
                raise TargetError(f"{self.name} {self._end}: it cannot be frozen")
            self._nursery.tell(self.name, "frozen", pid=self._pid)

    def thaw(self) -> None:
        """Let it run on; does nothing when it is not frozen."""
        with self._changed:
            if not self._is_frozen():
                return
            self._nursery.say(name=self.name, signal=int(signal.SIGCONT))
            self._changed.wait_for(lambda: not self._is_frozen(), SIGNAL_LIMIT_S)
            self._nursery.tell(self.name, "thawed", pid=self._pid)

    def wait_dead(self, deadline_s: float) -> bool:
        """Wait until it has ended; False when it still lives after ``deadline_s`` seconds."""
        return self._wait_for(
            lambda: self._state is ServiceState.DEAD, time.monotonic() + deadline_s
        )

    def _wait_for(self, predicate: Callable[[], bool], end: float) -> bool:
        with self._changed:
            return self._changed.wait_for(predicate, max(0.0, end - time.monotonic()))

    def _wait_listening(self, port: int, end: float) -> None:
        def probe() -> None:
            if self._state is ServiceState.STARTING:
                left = max(_PROBE_INTERVAL_S, end - time.monotonic())
                socket.create_connection(("127.0.0.1", port), timeout=left).close()
                self._ready()

        def wait_for_death(seconds: float) -> None:
            self.wait_dead(seconds)

        attempts = Retrying(
            retry=retry_if_exception_type(OSError),
            stop=stop_after_delay(max(0.0, end - time.monotonic())),
            wait=wait_fixed(_PROBE_INTERVAL_S),
            sleep=wait_for_death,
        )
        try:
            attempts(probe)
        except RetryError:
            return

    # ------------------------------------------------------------------ what is heard of it

    def started(self, pid: int) -> None:
        """Its process runs."""
        self._pid = pid
        self._nursery.tell(self.name, "started", pid=pid)

    def heard(self, notify: socket.socket) -> None:
        """It said something on its notify socket."""
        if b"READY=1" in notify.recv(4096).splitlines():
            self._ready()

    def exited(self, **details: Any) -> socket.socket | None:
        """Its process ended; returns the notify socket, which is of no more use."""
        self._pid, notify, self._notify = None, self._notify, None
        self._state = ServiceState.DEAD
        self._killed = False
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
