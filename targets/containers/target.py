"""The reference control plane as containers: one for each service, on a network of the run's own.

The services, their points and the plans are those of the embedded target. They share a directory,
in which the databases are, and reach each other by addresses that they keep over restarts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from chaos.safety import procfs
from chaos.target import Instrumentation, Limits
from targets.containers.engine import EngineError, connect, gateway
from targets.containers.nursery import AGENT, GID, UID, Containers
from targets.embedded.target import Embedded
from targets.processes.nursery import Nursery
from targets.processes.ports import Ports
from targets.processes.service import LocalService
from targets.topology import ServiceSpec, Topology

_FIRST_PORT = 8000
_CODE = "/opt/reference:/opt/site"
"""Where the image has the services' code, and what they need."""


class FixedPorts(Ports):
    """Each container has all ports to itself: they need not be held."""

    def hold(self) -> None:
        """Give each name a number."""
        for number, name in enumerate(self._topology.port_names, _FIRST_PORT):
            self[name] = self._topology.ports.get(name, number)

    def release(self) -> None:
        """Forget them."""
        self.clear()


class ContainerService(LocalService):
    """A service that is a container; what stands still is paused."""

    def _is_frozen(self) -> bool:
        assert isinstance(self._nursery, Containers)
        return self._pid is not None and self._nursery.is_paused(self.name)


class Containerised(Embedded):
    """The reference control plane in containers of this machine's Docker engine."""

    name = "containers"
    service_kind = ContainerService
    limits = Limits(
        start_s=180.0, stop_s=60.0, settle_s=30.0, client_s=30.0, poll_s=0.02, blocked_s=0.3
    )

    def __init__(self) -> None:
        self.topology = _for_containers(self.layout.topology())
        super().__init__()

    # ------------------------------------------------------------------ life

    @cached_property
    def controller_host(self) -> str:  # type: ignore[override]
        """The gateway of the default bridge.

        Raises:
            EngineError: there is no engine, or it refuses.
        """
        client = connect()
        try:
            return gateway(client)
        finally:
            client.close()

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Make the image and the network, and boot everything in containers.

        Raises:
            EngineError: there is no engine, it refuses, or an image cannot be made.
            TargetError: as of the embedded target.
        """
        assert isinstance(self._nursery, Containers)
        shared = instrumentation.run_dir.absolute() / "shared"
        shared.mkdir(mode=0o700)
        token = shared / "token"
        own = os.geteuid() == 0
        token.touch(mode=0o400)
        token.write_text(self._token(instrumentation))
        if own:
            os.chown(shared, UID, GID)
            os.chown(token, UID, GID)
        try:
            self._nursery.prepare(instrumentation.run_dir, instrumentation.label)
            if self._proxies:
                self._proxies.host = self._nursery.gateway
            inside = replace(
                instrumentation,
                environment=lambda name: _inside(instrumentation.environment(name), token),
            )
            super().start(inside, bugs)
        except EngineError:
            self._nursery.close(self.limits.stop_s)
            raise

    def listener(self, name: str) -> str:
        """The container's address, and its port."""
        assert isinstance(self._nursery, Containers)
        return f"{self._nursery.addresses[name]}:{self.port(name)}"

    @property
    def run_dir(self) -> Path:
        """The directory that all containers share."""
        return super().run_dir / "shared"

    # ------------------------------------------------------------------ steps

    @staticmethod
    def _token(instrumentation: Instrumentation) -> str:
        return instrumentation.environment("").get("CHAOS_TOKEN", "")

    def _make_nursery(self) -> Nursery:
        return Containers(self._tell, [spec.name for spec in self._order])

    def _make_ports(self) -> Ports:
        return FixedPorts(self.topology)

    def _preload(self) -> list[str]:
        return []

    def _common_environment(self) -> dict[str, str]:
        return {procfs.LABEL: self._running.label}

    def _program(self, spec: ServiceSpec) -> dict[str, Any]:
        program = super()._program(spec)
        program["environment"].setdefault("PYTHONPATH", _CODE)
        return program


def _inside(outside: Mapping[str, str], token: Path) -> dict[str, str]:
    """What lets the agent in a container find the controller; the token stays in its file."""
    if not outside:
        return {}
    return {
        **{name: value for name, value in outside.items() if name != "CHAOS_TOKEN"},
        "CHAOS_TOKEN_FILE": str(token),
        "PYTHONPATH": f"{AGENT}/hook:{_CODE}",
    }


def _for_containers(plain: Topology) -> Topology:
    """The same services, each listening on the address of its container."""
    services = [
        replace(spec, environment={**spec.environment, "REFERENCE_BUS": "0.0.0.0:{port:bus}"})
        if spec.name == "bus"
        else spec
        for spec in plain.services
    ]
    return replace(
        plain,
        services=tuple(services),
        environment={**plain.environment, "REFERENCE_BIND": "0.0.0.0"},
    )


def target() -> Containerised:
    """Make the target; entry point ``chaos.targets:containers``."""
    return Containerised()
