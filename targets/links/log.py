"""The log of a toxiproxy server, which tells of each connection that it accepts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path


class Log:
    """Reads a log as it grows; any thread may ask."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._accepted: Counter[str] = Counter()
        self._lock = threading.Lock()

    def accepted(self, proxy: str) -> int:
        """How many connections the proxy of that name has accepted so far."""
        with self._lock:
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole, end, _ = file.read().rpartition(b"\n")
            self._at += len(whole) + len(end)
            for line in whole.splitlines():
                if b'"Accepted client"' in line:
                    self._accepted[json.loads(line)["name"]] += 1
            return self._accepted[proxy]
