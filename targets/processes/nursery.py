"""The runner's end of the warm parent (:mod:`targets.processes.warm_parent`).

One thread listens to the warm parent and to the services' readiness messages; everything it learns
it tells at once, in the order in which it happened.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from chaos.errors import TargetError
from chaos.safety.program import Launch, Launched, Program
from chaos.target import ServiceState
from targets.processes import warm_parent

_logger = logging.getLogger(__name__)

_LOG_TAIL_LINES = 20


class Child(Protocol):
    """What the warm parent forks: it is told of its own life, under the nursery's ``changed``."""

    @property
    def name(self) -> str:
        """Unique in its nursery."""

    @property
    def state(self) -> ServiceState:
        """Its state now."""

    @property
    def pid(self) -> int | None:
        """Its process id; None while dead."""

    @property
    def log(self) -> Path:
        """File that collects its standard output and error."""

    def started(self, pid: int) -> None:
        """Its process runs."""

    def heard(self, notify: socket.socket) -> None:
        """It said something on its notify socket, which is to be read."""

    def exited(self, **details: Any) -> socket.socket | None:
        """Its process ended; returns the notify socket, which is of no more use."""


class Nursery:
    """One warm parent and its services, for one run directory.

    ``changed`` guards the state of all services and is notified at every change. ``tell`` is called
    as (service, event, details) while it is held, so in the true order; it must be quick.
    """

    def __init__(self, tell: Callable[[str, str, Mapping[str, Any]], None]) -> None:
        self.changed = threading.Condition()
        self.pid: int | None = None
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._warm = False
        self._process: Launched | None = None

    def open(
        self,
        run_dir: Path,
        environment: Mapping[str, str],
        preload: Iterable[str],
        limit_s: float,
        launch: Launch,
    ) -> None:
        """Have ``launch`` execute the warm parent; return when it has imported ``preload``.

        ``environment`` is what all its children show in ``/proc/<pid>/environ``.

        Raises:
            TargetError: it ended before, or had not done so after ``limit_s`` seconds; says how its
                log ends.
        """
        self.run_dir = run_dir
        self.logs.mkdir(parents=True, exist_ok=True)
        self._log = self.logs / "warm-parent.log"
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        runner = os.pidfd_open(os.getpid())
        sys_path = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        try:
            self._process = launch(
                Program(
                    (sys.executable, "-P", "-u", warm_parent.__file__, sys_path, str(run_dir)),
                    environment,
                    self._log,
                    (theirs.fileno(), runner),
                )
            )
        finally:
            theirs.close()
            os.close(runner)
        self.pid = self._process.pid
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._link, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._listen, name="chaos-nursery", daemon=True)
        self._thread.start()
        modules = list(preload)
        self.say(preload=modules)
        with self.changed:
            self.changed.wait_for(lambda: self._warm or self.pid is None, limit_s)
            if not self._warm:
                what = "could not import" if self.pid is None else f"had {limit_s:g} s to import"
                raise TargetError(
                    f"the warm parent {what} {', '.join(modules)}"
                    f"; its log ends with:\n{tail(self._log)}"
                )

    def close(self, limit_s: float) -> None:
        """End all services and the warm parent; safe to call twice.

        What is not gone after ``limit_s`` seconds is left to the kernel to end.
        """
        if self._process is None:
            return
        with self.changed:
            if self.pid is not None:
                self._link.shutdown(socket.SHUT_WR)
        # While it still imports, it does not listen.
        if not self._process.wait(limit_s if self._warm else 0.0):
            self._process.kill()
            self._process.wait()
        self._process.close()
        self._link.shutdown(socket.SHUT_RDWR)  # whoever may still hold the other end
        self._thread.join()
        self._link.close()
        self._selector.close()
        self._process = None

    @property
    def logs(self) -> Path:
        """Directory of the services' logs."""
        return self.run_dir / "logs"

    def say(self, **message: object) -> None:
        """Ask the warm parent for something.

        Raises:
            TargetError: it is gone.
        """
        if self.pid is None:
            raise TargetError(f"the warm parent is gone; its log ends with:\n{tail(self._log)}")
        try:
            self._link.send(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise TargetError("the warm parent is gone") from error

    def spawn(self, child: Child, program: Mapping[str, Any]) -> socket.socket:
        """Ask for ``child``; its end of life and its messages will be told to it.

        Returns the socket of this one incarnation to which it may say that it is ready.
        """
        # The kernel chooses a name in the abstract namespace: no file, and never that of a twin.
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind("")
        address = "@" + notify.getsockname()[1:].decode()
        try:
            self.say(
                spawn=child.name,
                log=str(child.log),
                **{**program, "environment": {**program["environment"], "NOTIFY_SOCKET": address}},
            )
        except BaseException:
            notify.close()
            raise
        self._children[child.name] = child
        self._selector.register(notify, selectors.EVENT_READ, child)
        return notify

    def tell(self, service: str, event: str, **details: Any) -> None:
        """Tell what happened to a service; an error of the listener's is only logged."""
        try:
            self._tell(service, event, details)
        except Exception:
            _logger.exception("could not tell that %s %s", service, event)
        self.changed.notify_all()

    def _listen(self) -> None:
        while True:
            # The warm parent first: a service's own message never overtakes its start or its end.
            events = sorted(self._selector.select(), key=lambda event: event[0].data is not None)
            with self.changed:
                for key, _ in events:
                    if key.data is None:
                        if not self._drain():
                            return
                    elif key.fd in self._selector.get_map():
                        key.data.heard(key.fileobj)

    def _drain(self) -> bool:
        """Hear what the warm parent said; False when it is gone."""
        while True:
            try:
                message = self._link.recv(warm_parent.MESSAGE_LIMIT, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                message = b""
            if not message:
                self._lost()
                return False
            self._hear(json.loads(message))

    def _hear(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            self._warm = True
        elif "started" in said:
            self._children[said["started"]].started(said["pid"])
        elif "exited" in said:
            self._bury(self._children[said.pop("exited")], **said)
        self.changed.notify_all()

    def _bury(self, child: Child, **details: Any) -> None:
        notify = child.exited(**details)
        if notify is not None:
            self._selector.unregister(notify)
            notify.close()

    def _lost(self) -> None:
        # The kernel ends every child of a warm parent that is gone.
        self.pid = None
        self._warm = False
        for child in self._children.values():
            if child.state is not ServiceState.DEAD:
                self._bury(child, pid=child.pid, signal=int(signal.SIGKILL))
        self.changed.notify_all()


def tail(log: Path, begin: int = 0) -> str:
    """The last lines of a log, from ``begin`` bytes on, indented."""
    try:
        with log.open("rb") as file:
            file.seek(begin)
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        text = ""
    lines = text.splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"
