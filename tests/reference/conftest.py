"""The peripheral services as real processes, for all tests of this directory."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.operation import Operations, Scope
from chaos.target import Instrumentation
from chaos.world import World
from targets.processes import ProcessTarget
from targets.topology import Forked, ServiceSpec, Topology

MODULES = {
    "identity": "targets.reference.identity",
    "image": "targets.reference.image",
    "network": "targets.reference.network",
    "volume": "targets.reference.volume.api",
    "placement": "targets.reference.placement.api",
}


def instrumentation(run_dir: Path) -> Instrumentation:
    return Instrumentation(
        label=f"test-{secrets.token_hex(4)}",
        run_dir=run_dir,
        environment=lambda _: {},
        on_service=lambda *_: None,
    )


class Peripherals(ProcessTarget):
    name = "peripherals"
    points = {}
    operations = Operations()
    bugs = {}
    topology = Topology(
        services=tuple(
            ServiceSpec(
                name,
                Forked(f"{module}:main"),
                {"REFERENCE_SERVICE": name, "REFERENCE_PORT": f"{{port:{name}}}"},
                stateless=True,
            )
            for name, module in MODULES.items()
        ),
        preload=tuple(MODULES.values()),
        environment={
            "REFERENCE_RUN_DIR": "{run_dir}",
            "REFERENCE_TOKEN_SECRET": "s" * 32,
            "REFERENCE_PASSWORD": "secret",
            "REFERENCE_ENDPOINTS": ",".join(f"{n}=http://127.0.0.1:{{port:{n}}}" for n in MODULES),
        },
    )

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port(service)}"

    def client(self) -> Any:
        raise NotImplementedError

    def observe(self) -> World:
        return World()

    def settle(self, deadline_s: float) -> None: ...

    def clean_up(self, scope: Scope) -> None: ...

    def restore(self, run_dir: Path, kept: object = None) -> None: ...


@pytest.fixture(scope="session")
def peripherals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peripherals]:
    target = Peripherals()
    target.start(instrumentation(tmp_path_factory.mktemp("peripherals")), frozenset())
    yield target
    target.stop()


@pytest.fixture(scope="session")
def cloud(peripherals: Peripherals) -> Iterator[Any]:
    import openstack

    connection = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=peripherals.url("identity") + "/v3",
        username="demo",
        password="secret",
        project_name="demo",
        user_domain_id="default",
        project_domain_id="default",
        region_name="RegionOne",
    )
    yield connection
    connection.close()
