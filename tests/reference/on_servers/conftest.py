"""The control plane on PostgreSQL and RabbitMQ, started once for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.errors import TargetError
from targets.embedded.on_servers import OnServers
from tests.conftest import Running, running
from tests.processes.servers import absent


@pytest.fixture(scope="session")
def on_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One control plane for all tests of this worker; every plan begins with it pristine."""
    try:
        OnServers()
    except TargetError as missing:
        absent(str(missing))
    journal = tmp_path_factory.mktemp("on-servers") / "journal.sqlite"
    yield from running("suites.on_servers:target", journal)


@pytest.fixture
def target(on_servers: Running) -> OnServers:
    found = on_servers.session.words.target
    assert isinstance(found, OnServers)
    return found
