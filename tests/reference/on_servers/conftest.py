"""The control plane on PostgreSQL and RabbitMQ, started once for all tests of this directory."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.errors import TargetError
from chaos.failpoints.controller import Controller
from chaos.target import Instrumentation
from targets.embedded.on_servers import OnServers
from tests.processes.servers import absent
from tests.reference.nova.conftest import Cloud


@pytest.fixture(scope="session")
def booted() -> Iterator[Cloud]:
    try:
        target, label = OnServers(), f"test-{secrets.token_hex(4)}"
    except TargetError as missing:
        absent(str(missing))
    with (
        Controller(label=label, request_id_reader=target.request_id_reader) as controller,
        # A server that is not root's must reach its own; pytest's directories are root's alone.
        tempfile.TemporaryDirectory(prefix="private-") as run_dir,
    ):
        environment = controller.environment
        instrumentation = Instrumentation(label, Path(run_dir), environment, lambda *_: None)
        target.start(instrumentation, frozenset())
        cloud = Cloud(target, controller)
        try:
            yield cloud
        finally:
            cloud.threads.shutdown()
            target.stop()


@pytest.fixture
def cloud(booted: Cloud) -> Iterator[Cloud]:
    booted.target.reset(frozenset())
    yield booted
    booted.controller.disarm_all()
