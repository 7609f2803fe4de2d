"""What carries frames between a process and a broker; :mod:`.client` says what the frames mean."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Protocol

from targets.reference.bus.frames import Decoder, Frame, encode

CONNECT_S = 10.0


class Link(Protocol):
    """One connection to a broker; a new one is made when the broker comes back."""

    def send(self, frame: Frame) -> None:
        """Send a frame, from any thread.

        Raises:
            OSError: the connection has ended.
        """

    def frames(self) -> Iterator[Frame]:
        """Yield what comes, for one thread, until the connection ends."""

    def close(self) -> None:
        """End the connection; no matter if it has ended."""


class SocketLink:
    """A connection to our own broker: ``address`` is host and port.

    Raises:
        OSError: nobody is there.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=CONNECT_S)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        data = encode(frame)
        with self._sending:
            self._socket.sendall(data)

    def frames(self) -> Iterator[Frame]:
        """Yield what comes."""
        decoder = Decoder()
        while data := self._socket.recv(1 << 16):
            yield from decoder.feed(data)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
