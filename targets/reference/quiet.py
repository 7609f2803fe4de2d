"""Tells whoever supervises a service when nothing is in flight in it.

The service answers on a Unix socket in its run directory, where nobody else gets in. A question is
one line, the seconds that it may take; the answer is one line of JSON: how many requests were
``served``, and which are ``active``: as soon as there are none, or at the end of that time.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from targets.reference.config import Config

_TURNS = 6
"""In so many turns of the event loop a connection that was waiting is accepted, read and served."""


class Quiet:
    """Counts the requests of one service. Touched by the event loop's thread only."""

    def __init__(self) -> None:
        self._active: dict[object, str] = {}
        self._served = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._answering: set[asyncio.Task[None]] = set()

    @contextmanager
    def serving(self, what: str) -> Iterator[None]:
        """Count a request for the length of the block."""
        key = object()
        self._active[key] = what
        self._idle.clear()
        try:
            yield
        finally:
            self._served += 1
            del self._active[key]
            if not self._active:
                self._idle.set()

    async def listen(self, config: Config) -> None:
        """Answer from now on, until the loop ends."""
        listener = bound(quiet_path(config.run_dir, config.service))
        await asyncio.get_running_loop().create_unix_server(lambda: _Asked(self), sock=listener)

    def ask(self, transport: asyncio.WriteTransport, deadline_s: float) -> None:
        """Answer a question through its connection."""
        task = asyncio.get_running_loop().create_task(self._answer(transport, deadline_s))
        self._answering.add(task)  # the loop itself keeps no tasks alive
        task.add_done_callback(self._answering.discard)

    async def _answer(self, transport: asyncio.WriteTransport, deadline_s: float) -> None:
        for _ in range(_TURNS):  # whoever came before the question counts
            await asyncio.sleep(0)
        if self._active:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    # The next request may have come between the event and this task's turn.
                    while self._active:
                        await self._idle.wait()
        answer = {"served": self._served, "active": list(self._active.values())}
        transport.write(json.dumps(answer).encode() + b"\n")


class _Asked(asyncio.Protocol):
    """One connection of somebody who asks."""

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *questions, self._received = (self._received + data).split(b"\n")
        for deadline_s in map(float, questions):
            self._quiet.ask(self._transport, deadline_s)


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
