from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from chaos.safety.members import Members
from chaos.target import Instrumentation
from targets.processes import ProcessTarget
from tests.ledger.ledger import Ledger

Events = list[tuple[str, str, Mapping[str, Any]]]
Start = Callable[..., ProcessTarget]


@pytest.fixture
def label() -> Iterator[str]:
    """A run of its own for each test; whatever a failed test left of it is ended."""
    label = f"test-{uuid.uuid4().hex[:8]}"
    yield label
    Members(label).kill(5.0)


@pytest.fixture
def events() -> Events:
    """What the services of the test were seen to do, as (service, event, details)."""
    return []


@pytest.fixture
def instrumentation(label: str, tmp_path: Path, events: Events) -> Instrumentation:
    return Instrumentation(label, tmp_path, lambda _: {}, lambda *event: events.append(event))


@pytest.fixture
def start(instrumentation: Instrumentation) -> Iterator[Start]:
    """Starts targets, and stops them at the end of the test."""
    with ExitStack() as stack:

        def start(target: ProcessTarget, *bugs: str) -> ProcessTarget:
            stack.callback(target.stop)
            target.start(instrumentation, frozenset(bugs))
            return target

        yield start


@pytest.fixture
def ledger(start: Start) -> ProcessTarget:
    """A ledger with both services ready."""
    return start(Ledger())


@pytest.fixture
def bystander(label: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries no label of ours, though one that looks like it."""
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"],
        stdout=subprocess.PIPE,
        env={"CHAOS_RUN": f"{label}-other", "OTHER_CHAOS_RUN": label},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.send_signal(signal.SIGKILL)
