"""What the agent needs of threads, bound before anybody can put something else in its place.

gevent and eventlet replace what the modules ``threading``, ``queue`` and ``socket`` hold, and
eventlet also every ``RLock`` that exists already. The agent's thread is a real one and is waited
for as such: what it uses comes from underneath those modules.
"""

from __future__ import annotations

import contextlib
import sys
from _queue import Empty, SimpleQueue
from _signal import (  # type: ignore[import-not-found]  # not by `signal`: it makes enums
    SIG_BLOCK,
    SIG_SETMASK,
    pthread_sigmask,
    valid_signals,
)
from _thread import allocate_lock as Lock
from _thread import get_ident, start_new_thread
from collections.abc import Callable

__all__ = ["Empty", "Gate", "Guard", "Lock", "Nested", "SimpleQueue", "begin", "get_ident"]


class Gate:
    """Shut at first; once it was opened, whoever waits at it goes on, and nobody waits again."""

    def __init__(self) -> None:
        self.is_open = False
        self._lock = Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let everybody through, from any thread."""
        self.is_open = True
        with contextlib.suppress(RuntimeError):  # it was open
            self._lock.release()

    def wait(self, limit_s: float) -> bool:
        """Wait, with the whole thread; False when it is still shut after so many seconds."""
        if not self.is_open and self._lock.acquire(timeout=limit_s):
            with contextlib.suppress(RuntimeError):  # let the next one through
                self._lock.release()
        return self.is_open


class Nested:
    """A lock that its thread may take again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner = 0
        self._depth = 0

    def __enter__(self) -> None:
        if self._owner != get_ident():
            self._lock.acquire()
            self._owner = get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._lock.release()


class Guard:
    """``busy`` while this thread, or greenlet, runs the agent's own code.

    That code may call armed functions, which must not strike then.
    """

    def __init__(self) -> None:
        self._busy: set[object] = set()

    @property
    def busy(self) -> bool:
        """Of whoever asks."""
        return bool(self._busy) and _whoever() in self._busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        if busy:
            self._busy.add(_whoever())
        else:
            self._busy.discard(_whoever())

    def forget_others(self) -> None:
        """In a forked child: the other threads were not forked."""
        self._busy &= {_whoever()}


def _whoever() -> object:
    greenlet = sys.modules.get("greenlet")
    return get_ident() if greenlet is None else (get_ident(), greenlet.getcurrent())


def begin(run: Callable[[], None]) -> None:
    """Run it in a thread that nobody sees, joins or signals.

    The module ``threading`` does not know it, so who joins all threads does not wait for it; a
    signal that the service waits for cannot be delivered to it.

    Raises:
        RuntimeError: there can be no more threads.
    """
    mask = pthread_sigmask(SIG_BLOCK, valid_signals())
    try:
        start_new_thread(run, ())
    finally:
        pthread_sigmask(SIG_SETMASK, mask)
