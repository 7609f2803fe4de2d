"""The reference, running for a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from targets.embedded.target import Embedded
from tests.reference.conftest import instrumentation


@contextmanager
def running(folder: Path) -> Iterator[Embedded]:
    """Start it in ``folder`` and end it."""
    target = Embedded()
    run_dir = folder / "run"
    run_dir.mkdir()
    target.start(instrumentation(run_dir), frozenset())
    try:
        yield target
    finally:
        target.stop()
