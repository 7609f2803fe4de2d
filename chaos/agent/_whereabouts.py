"""Where the threads of hits are right now."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from types import FrameType
from typing import Any

from ._native import Lock, get_ident

REMEMBERED = 1000
"""Hits; the oldest are forgotten."""


class Whereabouts:
    """Remembers on which thread each hit was, the latest of each thread and request only.

    Any thread may :meth:`note`, and any ask.
    """

    def __init__(self) -> None:
        self._remembering = Lock()
        self._latest: OrderedDict[tuple[int, str | None], tuple[int, threading.Thread]]
        self._latest = OrderedDict()

    def note(self, hit: int, request: str | None) -> None:
        """The calling thread is at this hit, on behalf of this request."""
        thread = threading.current_thread()
        key = get_ident(), request
        with self._remembering:
            self._latest.pop(key, None)
            self._latest[key] = hit, thread
            if len(self._latest) > REMEMBERED:
                self._latest.popitem(last=False)

    def places(self, hits: Iterable[int]) -> dict[int, str]:
        """The place of the thread of each hit; what is not known, or has ended, is left out."""
        wanted = frozenset(hits)
        with self._remembering:
            noted = [
                (hit, ident, thread)
                for (ident, _), (hit, thread) in self._latest.items()
                if hit in wanted
            ]
        frames = sys._current_frames()
        try:
            return {
                hit: _place(frames[ident])
                for hit, ident, thread in noted
                if thread.is_alive() and ident in frames
            }
        finally:
            frames.clear()  # our own frame is among them: a circle that would keep them all


def _place(frame: FrameType) -> str:
    """Equal for two looks exactly when the frame, and where it is in its code, are the same."""
    module = frame.f_globals.get("__name__", "?")
    call = f"#{_mark(frame)}/{frame.f_lasti}"
    return f"{module}:{frame.f_lineno} {frame.f_code.co_qualname} {call}"


class _Mark:
    """Sticks to one frame, from the first look to the frame's end.

    The frame's address will not do: the next call gets the same one. Nor may we keep the frame: its
    variables would live on. So the mark is put where a debugger keeps a frame's trace function.
    Only a thread that is being traced calls it, and to return None changes nothing there.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self._numbers)

    def __call__(self, *_: Any) -> None:
        return None


def _mark(frame: FrameType) -> int:
    if frame.f_trace is None:
        frame.f_trace = _Mark()
    mark = frame.f_trace
    return mark.number if isinstance(mark, _Mark) else id(frame)  # else a debugger was here first
