"""A toxiproxy server of this machine, and the reference with its links laid through one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.safety.program import launch
from targets.links.client import Server
from targets.links.proxies import VARIABLE, Proxies, binary
from tests.conftest import Running, running
from tests.processes.servers import absent

FOR_TESTS = "CHAOS_TESTS_TOXIPROXY"
"""The program for these tests alone; set and empty: they are not to run."""


@pytest.fixture(scope="session")
def toxiproxy() -> Iterator[str]:
    """The program; without one these tests are skipped, or fail where everything is demanded."""
    named = os.environ.get(FOR_TESTS)
    if named == "":
        pytest.skip(f"{FOR_TESTS} is empty")
    found = named or binary()
    if not found:
        absent(f"there is no toxiproxy-server in $PATH, and neither {VARIABLE} nor {FOR_TESTS}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, found)
        yield found


@pytest.fixture
def proxies(toxiproxy: str, tmp_path: Path) -> Iterator[Proxies]:
    """A server with one link, behind which nobody is."""
    links = Proxies([("client", "api")])
    links.open({"api": "127.0.0.1:1"}, tmp_path, "test", launch, 30)
    yield links
    links.close()


@pytest.fixture
def server(proxies: Proxies) -> Server:
    """A client of that server."""
    return proxies["client>api"].server


@pytest.fixture(scope="session")
def proxied(toxiproxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The reference with its links laid through toxiproxy."""
    yield from running("reference", tmp_path_factory.mktemp("proxied") / "journal.sqlite")
