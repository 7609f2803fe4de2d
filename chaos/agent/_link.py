"""The wire between agent and controller: one JSON object a line, over one TCP connection.

Every message says what it ``is``. The agent speaks first.

From the agent:

========= =====================================================================================
hello     ``token``, ``service``, ``pid``, ``main``: whether it is the service's first process
states    ``states``: {arm: ``armed`` | ``pending`` | ``error: …``}; with ``ticket`` when asked
hit       ``hit`` (its number), ``arm``, ``at_ns``, ``thread``, ``request``, ``raised``, ``told``:
          a call came to an armed point. When the arm says ``ask``, the agent waits for the
          verdict. Else it has acted, unless the call ended the other way (the arm's ``raised``)
          or it gives a ``problem``: why it could not
acted     ``hit``, ``problem``: the answer to a verdict that lets it act. It does, as soon as the
          strike is recorded, or else it says why it does not
resumed   ``hit``: the actor that was held there goes on
functions ``functions``: the armed ones, ``ticket``
places    ``places``: {hit: where its thread is}, ``ticket``
done      ``ticket``; no arm that was to be disarmed has acted since, or will
========= =====================================================================================

From the controller:

========= =====================================================================================
welcome   ``arms``: those that must be in place before the service's first line
arm       ``arms``, ``ticket``; answered by ``states``
verdict   ``hit``, ``act``: whether this hit may act; if so, ``acted`` follows
recorded  ``hit``: the strike is in the records, its effect may be seen
release   ``hit``: let the held actor go on
disarm    ``arms``: these, or null for all and for letting everyone go; ``ticket`` → ``done``
list      ``ticket`` → ``functions``
where     ``hits``, ``ticket`` → ``places``
========= =====================================================================================

A strike that is asked for takes two round trips: hit, verdict, acted, recorded. A verdict that
comes late finds that the call has gone on unstruck; there is no way back from ``acted``, whether
``recorded`` comes or not. A crash has happened when the connection ends after its ``acted``.

An arm is {``arm`` (its number), ``function``, ``when``, ``raised``, ``requests``, ``ask``,
``action``}; an action is {``word``, …its arguments}. Times are ``time.monotonic_ns()``, which all
processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SHUT_RDWR,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    socket,
)
from typing import Any

from ._native import Lock

SEND_LIMIT_S = 2
"""A controller that reads nothing for so long is treated as gone: it may not stop the service."""


class Link:
    """The agent's end. Every method raises OSError when the controller is not there.

    Any thread may send; one receives. A service may close files that it did not open, as daemons
    do, and open its own under the same number: so the link looks whether the file is its own still.
    """

    def __init__(self, address: str, deadline_s: float) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM)
        self._socket.settimeout(deadline_s)
        try:
            self._socket.connect((host, int(port)))
        except BaseException:
            self._socket.close()
            raise
        self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._identity = self._identify()
        self._received = b""
        self._patience_s: float | None = None
        self._sending = Lock()

    @property
    def is_ours(self) -> bool:
        """Whether the file is the one that was opened, and open."""
        try:
            return self._identify() == self._identity
        except OSError:
            return False

    def _identify(self) -> tuple[int, int]:
        found = os.fstat(self._socket.fileno())
        return found.st_dev, found.st_ino

    def _check(self) -> None:
        if not self.is_ours:
            raise ConnectionError("somebody closed the connection's file")

    def send(self, **message: Any) -> None:
        """Hand one message to the kernel: it arrives even when this process dies right after."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._check()
            self._socket.sendall(data)

    def receive(self, patience_s: float | None = None) -> Any:
        """The next message; None when none came in time."""
        self._wait_at_most(patience_s)
        while b"\n" not in self._received:
            self._check()
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return None
            if not data:
                raise ConnectionError("the controller closed the connection")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def stay(self) -> None:
        """Wait for messages without end from now on."""
        self._socket.settimeout(None)
        limit = struct.pack("ll", SEND_LIMIT_S, 0)
        self._socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, limit)

    def _wait_at_most(self, patience_s: float | None) -> None:
        # Not by settimeout(): that is for all threads, and for those that send.
        if patience_s != self._patience_s:
            self._check()
            limit = struct.pack("ll", *divmod(int((patience_s or 0) * 1_000_000), 1_000_000))
            self._socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, limit)
            self._patience_s = patience_s

    def leave(self) -> None:
        """End the connection; whoever waits in :meth:`receive` sees it."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._check()
            self._socket.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Give the file back: also that of a forked copy, the original stays connected."""
        if self.is_ours:
            self._socket.close()
        else:
            self._socket.detach()
