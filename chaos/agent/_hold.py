"""Where an actor waits: a thread that blocks, or a coroutine or greenlet that is suspended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from ._native import Gate, Lock

_write = os.write  # into a socket that nobody reads but us: it never blocks


class Hold:
    """Holds one actor until it is let go, or for ``limit_s`` seconds at most.

    ``on_end`` is called by the actor itself when it goes on, for whatever reason.
    """

    def __init__(self, limit_s: float, on_end: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._on_end = on_end
        self._free = Gate()
        self._waking = Lock()
        self._wake: Callable[[], object] | None = None

    def let_go(self) -> None:
        """Let the actor go on, from any thread; it need not wait yet."""
        self._free.open()
        with self._waking:
            if self._wake is not None:
                self._wake()

    def block(self) -> None:
        """Hold whoever calls: a greenlet where sockets wait for greenlets, else the thread."""
        try:
            sockets = sys.modules.get("socket")
            if sockets is None or sockets.socket.__module__ == "socket":
                self._free.wait(self._limit_s)
            else:
                self._yield(sockets)
        finally:
            self._on_end()

    def _yield(self, sockets: Any) -> None:
        """Wait by reading a socket, as gevent and eventlet make it: their other greenlets run."""
        ours, theirs = sockets.socketpair()
        try:
            with self._waking:
                self._wake = lambda: _write(theirs.fileno(), b"x")
            if not self._free.is_open:
                ours.settimeout(self._limit_s)
                with contextlib.suppress(TimeoutError):
                    ours.recv(1)
        finally:
            with self._waking:
                self._wake = None
            ours.close()
            theirs.close()

    async def suspend(self) -> None:
        """Hold the calling coroutine; the event loop runs on."""
        # Only here, because most programs never need it and it takes tens of milliseconds.
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # driven by something else than asyncio
            self.block()
            return
        woken = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(woken.set)

        self._wake = wake
        try:
            if self._free.is_open:  # let go before there was a way to wake us
                return
            async with asyncio.timeout(self._limit_s):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._on_end()
