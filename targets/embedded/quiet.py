"""Asks HTTP services whether anything is in flight in them, all at the same time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from targets.reference.quiet import quiet_path, short

_GRACE_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """How many requests a service has ``served`` so far, and which it serves now."""

    served: int
    active: tuple[str, ...]


class Quiet:
    """Open connections to the services of a run directory (:mod:`targets.reference.quiet`)."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._connections: dict[str, socket.socket] = {}

    def ask(self, names: Iterable[str], deadline_s: float) -> dict[str, Answer]:
        """Wait until each of these services is quiet, for at most ``deadline_s`` seconds.

        One that gives no answer at all is reported as active.
        """
        question = f"{max(deadline_s, 0.0)}\n".encode()
        with self._lock:
            asked = [(name, self._send(name, question)) for name in names]
            return {name: self._receive(name, question, deadline_s, sent) for name, sent in asked}

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._connections):
            self._forget(name)

    def _send(self, name: str, question: bytes) -> bool:
        try:
            self._connection(name).sendall(question)
        except OSError:
            self._forget(name)
            return False
        return True

    def _connection(self, name: str) -> socket.socket:
        connection = self._connections.get(name)
        if connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_GRACE_S)
            try:
                with short(quiet_path(self._run_dir, name)) as address:
                    connection.connect(address)
            except OSError:
                connection.close()
                raise
            self._connections[name] = connection
        return connection

    def _forget(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()

    def _receive(self, name: str, question: bytes, deadline_s: float, sent: bool) -> Answer:
        # The connection may be one to a process that has died since: then a new one is tried.
        for _ in range(2):
            try:
                if sent:
                    connection = self._connections[name]
                    connection.settimeout(max(deadline_s, 0.0) + _GRACE_S)
                    found = json.loads(_line(connection))
                    return Answer(found["served"], tuple(found["active"]))
            except TimeoutError:
                self._forget(name)  # the answer may come yet, to nobody's question
                break
            except OSError:
                self._forget(name)
            sent = self._send(name, question)
        return Answer(0, ("nothing, it does not answer",))


def _line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        data = connection.recv(1 << 16)
        if not data:
            raise ConnectionError("the service has ended")
        received += data
    return received
