"""Asks HTTP services whether anything is in flight in them, all at the same time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

_GRACE_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """How many requests a service has ``served`` so far, and which it serves now."""

    served: int
    active: tuple[str, ...]


class Quiet:
    """Open connections to services, each ``name → port``, that answer ``path?deadline_s=``.

    A service answers ``{"served": 12, "active": []}`` as soon as it serves nothing, or at the
    deadline with what it serves then.
    """

    def __init__(self, ports: Mapping[str, int], path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connections = {
            name: HTTPConnection("127.0.0.1", port) for name, port in ports.items()
        }

    def ask(self, names: Iterable[str], deadline_s: float) -> dict[str, Answer]:
        """Wait until each of these services is quiet, for at most ``deadline_s`` seconds.

        One that gives no answer at all is reported as active.
        """
        url = f"{self._path}?deadline_s={max(deadline_s, 0.0)}"
        with self._lock:
            asked = [(name, self._send(name, url, deadline_s)) for name in names]
            return {name: self._receive(name, url, deadline_s, sent) for name, sent in asked}

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def _send(self, name: str, url: str, deadline_s: float) -> bool:
        connection = self._connections[name]
        connection.timeout = max(deadline_s, 0.0) + _GRACE_S
        try:
            connection.request("GET", url)
        except (OSError, HTTPException):
            connection.close()
            return False
        if connection.sock:
            connection.sock.settimeout(connection.timeout)
        return True

    def _receive(self, name: str, url: str, deadline_s: float, sent: bool) -> Answer:
        connection = self._connections[name]
        # The connection may be one to a process that has died since: then a new one is tried.
        for _ in range(2):
            try:
                if sent:
                    found = json.loads(connection.getresponse().read())
                    return Answer(found["served"], tuple(found["active"]))
            except TimeoutError:
                connection.close()
                break
            except (OSError, HTTPException):
                connection.close()
            sent = self._send(name, url, deadline_s)
        return Answer(0, ("nothing, it does not answer",))
