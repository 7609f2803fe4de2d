"""Where an actor waits: a thread that blocks or a coroutine that is suspended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Hold:
    """Holds one thread or coroutine until it is let go, or for ``limit_s`` seconds at most.

    ``on_end`` is called by the actor itself when it goes on, for whatever reason.
    """

    def __init__(self, limit_s: float, on_end: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._on_end = on_end
        self._free = threading.Event()
        self._wake: Callable[[], object] | None = None

    def let_go(self) -> None:
        """Let the actor go on, from any thread; it need not wait yet."""
        self._free.set()
        if self._wake is not None:
            self._wake()

    def block(self) -> None:
        """Hold the calling thread."""
        try:
            self._free.wait(self._limit_s)
        finally:
            self._on_end()

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
            if self._free.is_set():  # let go before there was a way to wake us
                return
            async with asyncio.timeout(self._limit_s):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._on_end()
