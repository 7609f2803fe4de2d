"""Locks by name, within one process: one thread at a time works on one instance."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Locks:
    """Makes a lock when it is first wanted, and forgets it when nobody wants it any more."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def _of(self, name: str) -> threading.Lock:
        """Count another user of the lock called ``name``."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = lock, users + 1
        return lock

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Hold the lock called ``name`` for the length of the block."""
        lock = self._of(name)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(name)
                if users > 1:
                    self._locks[name] = lock, users - 1
