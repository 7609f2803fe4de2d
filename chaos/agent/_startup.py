"""How far the interpreter has come with starting its program."""

from __future__ import annotations

import sys
import threading
import time
from importlib import _bootstrap
from types import FrameType, ModuleType

_UNSEEN_S = 1.0
"""After so long without a Python frame, an embedding program (uwsgi) has come to its own work."""


class Startup:
    """Whether ``sys.path`` is complete: the agent is there before it is."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the program runs, or is being looked for."""
        self._is_over = self._is_over or self._look()
        return self._is_over

    def skip(self) -> None:
        """In a fork, which has no start of its own."""
        self._is_over = True

    def _look(self) -> bool:
        site = getattr(sys.modules.get("site"), "__spec__", None)
        if getattr(site, "_initializing", False):
            return False
        frames = _frames_of_the_main_thread()
        if not frames:
            return time.monotonic() - self._began > _UNSEEN_S
        outermost = str(frames[-1].f_globals.get("__name__"))
        return not outermost.startswith(("_frozen_importlib", "importlib", "zipimport", "site"))


def is_coming(module: str) -> bool:
    """Whether it is there, or its import may have begun before anybody watched for it."""
    return module in sys.modules or module in getattr(_bootstrap, "_module_locks", ())


def is_defining(module: ModuleType, name: str) -> bool:
    """Whether the module's own code still runs and may define this name."""
    if getattr(module.__spec__, "_initializing", False):
        return True
    return module.__name__ == "__main__" and any(
        frame.f_globals is vars(module)
        and frame.f_code.co_name == "<module>"
        and name in frame.f_code.co_names
        for frame in _frames_of_the_main_thread()
    )


def _frames_of_the_main_thread() -> list[FrameType]:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames
