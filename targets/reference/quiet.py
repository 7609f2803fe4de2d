"""Tells whoever supervises a service when nothing is in flight in it.

The service answers on a Unix socket in its run directory, where nobody else gets in. A question is
one line, the seconds that it may take; the answer is one line of JSON: how many requests were
``served``, and which are ``active``: as soon as there are none, or at the end of that time.

A request is in flight from the moment when the kernel has its first byte, before any of our code
has seen it, until its answer is written.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from targets.reference.config import Config

_UNREAD = "a request that was not read yet"
_RECEIVED_BYTES = 1 << 16


class Quiet:
    """Counts what is in flight on the connections of one service."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._accept: Callable[[], None] = lambda: None
        self._open = select.poll()
        self._active: dict[int, str] = {}
        """By the connection's file descriptor."""
        self._served = 0
        self.connections = 0
        """How many are open."""

    # ------------------------------------------------------------------ the service's side

    def accepting(self, accept: Callable[[], None]) -> None:
        """Have ``accept`` take in who waits to be; it is called by whoever asks, too."""
        self._accept = accept

    def accept(self) -> None:
        """Take in who waits to be."""
        with self._changed:
            self._accept()

    def opened(self, connection: socket.socket) -> None:
        """There is a new connection; to be called by what :meth:`accepting` was told of."""
        self._open.register(connection, select.POLLIN)
        self.connections += 1

    def closing(self, connection: socket.socket) -> None:
        """It is about to be closed."""
        with self._changed:
            self._open.unregister(connection)
            self.connections -= 1
            self._active.pop(connection.fileno(), None)
            self._changed.notify_all()

    def receive(self, connection: socket.socket) -> bytes:
        """Wait for more on it, and return that; it is in flight from here on. Empty at its end.

        Raises:
            OSError: it was cut.
        """
        connection.recv(1, socket.MSG_PEEK)
        # Without a moment in which the request is neither unread nor in flight.
        with self._changed:
            data = connection.recv(_RECEIVED_BYTES)
            self._active.setdefault(connection.fileno(), _UNREAD)
        return data

    def serving(self, connection: socket.socket, what: str) -> None:
        """What came on it is this request."""
        self._active[connection.fileno()] = what

    def served(self, connection: socket.socket, requests: int, *, all_of_them: bool) -> None:
        """So many requests were answered on it; ``all_of_them``: nothing more is in flight."""
        with self._changed:
            self._served += requests
            if all_of_them:
                del self._active[connection.fileno()]
                self._changed.notify_all()

    # ------------------------------------------------------------------ who asks

    def wait(self, deadline_s: float) -> tuple[int, list[str]]:
        """How many requests were served, and which are in flight after at most so many seconds."""
        until = time.monotonic() + deadline_s
        with self._changed:
            # It is told what was seen: the next request may have come since.
            while (found := self._in_flight()) and (left_s := until - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return self._served, found

    def _in_flight(self) -> list[str]:
        self._accept()
        active = list(self._active.values())
        unread = [fd for fd, _ in self._open.poll(0) if fd not in self._active]
        return active + [_UNREAD] * len(unread)

    def listen(self, config: Config) -> None:
        """Answer from now on, in threads of its own."""
        listener = bound(quiet_path(config.run_dir, config.service))
        threading.Thread(target=self._welcome, args=[listener], name="quiet", daemon=True).start()

    def _welcome(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(
                target=self._answer, args=[connection], name="quiet", daemon=True
            ).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("r") as questions, suppress(OSError):
            for question in questions:
                served, active = self.wait(float(question))
                answer = {"served": served, "active": active}
                connection.sendall(json.dumps(answer).encode() + b"\n")


def quiet_path(run_dir: Path, service: str) -> Path:
    """Where a service answers."""
    return run_dir / f"{service}.quiet"


def bound(path: Path) -> socket.socket:
    """A Unix socket that listens at ``path``, in place of the one of an earlier process."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short(path) as address:
        listener.bind(address)
    listener.listen()
    return listener


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Another name of a socket's path: the kernel takes at most 107 bytes."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
