"""Reactions: what faults do beside the workload, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from chaos.errors import ChaosError


class Reactions:
    """The reactions of one round; ``failed`` is called when one ends by an error."""

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, name: str, reaction: Callable[[], None]) -> None:
        """Run ``reaction`` beside the workload."""

        def run() -> None:
            try:
                reaction()
            except BaseException as error:
                self._errors.append(error)
                self._failed()

        thread = threading.Thread(target=run, name=f"chaos-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, deadline_s: float) -> None:
        """Wait until all have ended.

        Raises:
            ChaosError: one still runs after ``deadline_s`` seconds.
        """
        until = time.monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                raise ChaosError(f"{thread.name} has not ended after {deadline_s} s")

    def raise_error(self) -> None:
        """Do nothing unless one has failed.

        Raises:
            ChaosError: what it failed of.
        """
        for error in self._errors:
            raise error
