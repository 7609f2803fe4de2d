"""What goes over a connection to the broker: JSON objects, each after its length in four bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

Frame = dict[str, Any]

MOST_BYTES = 8 << 20
"""Longest frame that anybody sends."""


class BadFrame(ValueError):
    """What a peer sent is no frame, or longer than it may be."""


_LENGTH = struct.Struct(">I")


def encode(frame: Frame) -> bytes:
    """Return the bytes of one frame."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes into frames of at most ``limit`` bytes, which may be changed."""

    def __init__(self, limit: int = MOST_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what was received and yield every frame that is complete now.

        Raises:
            BadFrame: one is longer than the limit, before it is awaited, or is no JSON object.
        """
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > self.limit:
                raise BadFrame(f"a frame of {length} bytes, where {self.limit} are allowed")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            yield _frame(self._buffer[start + _LENGTH.size : end])
            start = end
        del self._buffer[:start]


def _frame(body: bytearray) -> Frame:
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a frame that is not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise BadFrame("a frame that is no object")
    return frame
