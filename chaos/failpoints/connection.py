"""The controller's end of the wire to one failpoint agent (see ``chaos/agent/_link.py``)."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

_SEND_LIMIT_S = 2
_STRANGER_LIMIT = 4096  # bytes that a connection may send before it has shown the token


class Refused(Exception):
    """Someone connected who is none of ours."""


class AgentConnection:
    """One connection, of one process; a service has as many as it has processes.

    It is ``connected`` from when it has shown the token until its end.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = struct.pack("ll", _SEND_LIMIT_S, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.socket = connection
        self.service = ""
        self.pid = 0
        self.main = True
        self.connected = False
        self.since_s = time.monotonic()
        self._sending = threading.Lock()
        self._received = b""

    def __str__(self) -> str:
        return f"{self.service} (process {self.pid})"

    def send(self, **message: Any) -> None:
        """Send, or end the connection: the controller's thread then sees it."""
        try:
            with self._sending:
                self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            with contextlib.suppress(OSError):  # it ended by itself
                self.socket.shutdown(socket.SHUT_RDWR)

    def receive(self) -> Iterator[dict[str, Any]]:
        """The messages that have come in; raises ConnectionError at the end of the connection."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError
        *lines, self._received = (self._received + data).split(b"\n")
        if not self.connected and len(self._received) > _STRANGER_LIMIT:
            raise Refused("it talks without end")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                raise Refused(f"it does not speak our protocol: {line[:40]!r}") from None
            if not isinstance(message, dict):
                raise Refused("it does not speak our protocol")
            yield message
