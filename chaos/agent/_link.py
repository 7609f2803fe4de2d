"""The wire between agent and controller: one JSON object a line, over one TCP connection.

Every message says what it ``is``. The agent speaks first.

From the agent:

========= =====================================================================================
hello     ``token``, ``service``, ``pid``
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
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

SEND_LIMIT_S = 2
"""A controller that reads nothing for so long is treated as gone: it may not stop the service."""


class Link:
    """The agent's end. Every method raises OSError when the controller is not there."""

    def __init__(self, address: str, deadline_s: float) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=deadline_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._sending = threading.Lock()

    def send(self, **message: Any) -> None:
        """Hand one message to the kernel: it arrives even when this process dies right after."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> Any:
        """The next message."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the controller closed the connection")
        return json.loads(line)

    def stay(self) -> None:
        """Wait for messages without end from now on."""
        self._socket.settimeout(None)
        limit = struct.pack("ll", SEND_LIMIT_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def __iter__(self) -> Iterator[Any]:
        """Messages until the controller is gone."""
        while True:
            try:
                yield self.receive()
            except (OSError, ValueError):
                return

    def leave(self) -> None:
        """End the connection; whoever waits in :meth:`receive` sees it."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._lines.close()
        self._socket.close()

    def drop(self) -> None:
        """Close a forked copy: the original connection stays open."""
        # Not by close(): its lock may be held by the reading thread, which was not forked.
        os.close(self._socket.detach())
