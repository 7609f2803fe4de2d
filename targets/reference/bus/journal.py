"""The messages that wait, in a file: they live through the broker's death.

One line for a message that came and one when somebody has taken it, each a single write. What a
killed broker wrote is in the kernel; only a power cut could lose it. When nothing waits a long file
is cut short.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from targets.reference.bus.frames import Frame

MOST_BYTES = 1 << 16
"""Beyond this length the file is cut as soon as nothing waits."""


class Journal:
    """The file at ``path``; made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._waiting = dict(_read(path))
        self._number = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        kept, self._waiting = self._waiting, {}
        self._kept = [(self.add(queue, body), queue, body) for queue, body in kept.values()]

    @property
    def kept(self) -> list[tuple[int, str, Frame]]:
        """What waited when it was opened, in order: number, queue, body."""
        return self._kept

    def add(self, queue: str, body: Frame) -> int:
        """Write down a message that came, and return its number here."""
        self._number += 1
        self._waiting[self._number] = (queue, body)
        self._write([self._number, queue, body])
        return self._number

    def remove(self, number: int) -> None:
        """Write down that a message need not be kept any more."""
        if self._waiting.pop(number, None):
            self._write([number])
            if not self._waiting and os.lseek(self._file, 0, os.SEEK_CUR) > MOST_BYTES:
                self.clear()

    def clear(self) -> None:
        """Forget every message."""
        self._waiting.clear()
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def _write(self, entry: list[object]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def _read(path: Path) -> Iterator[tuple[int, tuple[str, Frame]]]:
    """What waited by the end of the file, of which the last line may be cut."""
    waiting: dict[int, tuple[str, Frame]] = {}
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for line in lines:
        number, *message = json.loads(line)
        if message:
            waiting[number] = (message[0], message[1])
        else:
            waiting.pop(number, None)
    yield from waiting.items()
