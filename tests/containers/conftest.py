"""A Docker engine, and one control plane in its containers for all tests of this worker."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import ImageNotFound

from chaos.errors import TargetError
from targets.containers import images
from targets.containers.engine import EngineError, connect
from targets.links.proxies import VARIABLE
from tests.conftest import Running, running
from tests.processes.servers import absent

FOR_TESTS = "CHAOS_TESTS_CONTAINERS"
"""Set and empty: these tests are not to run."""


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """What the engine's client leaves open is collected here, and by no later test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A client of the engine; without one these tests are skipped, or fail if all is demanded."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        pytest.skip("they run by themselves, after the others: `pytest tests/containers`")
    if os.environ.get(FOR_TESTS) == "":
        pytest.skip(f"{FOR_TESTS} is empty")
    try:
        client = connect()
    except EngineError as error:
        absent(str(error))
    yield client
    client.close()


@pytest.fixture(scope="session")
def services(engine: Any) -> str:
    """The image of the services, made when it is not there."""
    for name in ("python", "postgres", "rabbitmq"):
        base = images.image(name)
        try:
            engine.images.get(base)
        except ImageNotFound:
            absent(f"the engine has no image {base} (.ci/images/build makes one)")
    return images.services(engine)


@pytest.fixture(scope="session")
def contained(services: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The reference in containers; every plan leaves it pristine."""
    journal = tmp_path_factory.mktemp("contained") / "journal.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        if toxiproxy := os.environ.get("CHAOS_TESTS_TOXIPROXY"):
            patch.setenv(VARIABLE, toxiproxy)
        try:
            yield from running("containers", journal)
        except TargetError as error:
            pytest.fail(str(error))
