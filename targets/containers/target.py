"""The reference control plane as containers: one for each service, on a network of the run's own.

The services, their points and the plans are those of the embedded target on PostgreSQL and
RabbitMQ, which are containers too. Services reach each other by addresses that they keep over
restarts, and share a directory, in which they say that they are ready and at rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from kombu.connection import Connection

from chaos.safety import procfs
from chaos.target import Instrumentation, Limits, Service
from targets.containers import images
from targets.containers.engine import EngineError, connect, gateway
from targets.containers.nursery import AGENT, GID, UID, Containers
from targets.embedded.on_servers import OnServers
from targets.embedded.servers import BUS, DATABASE, USER
from targets.processes.nursery import Nursery
from targets.processes.ports import Ports
from targets.processes.service import LocalService
from targets.topology import Asked, Imaged, ServiceSpec, Topology

_FIRST_PORT = 8000
_POSTGRES = (
    "postgres", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=on",
    "-c", "max_connections=300", "-c", "jit=off", "-c", "autovacuum_naptime=1min",
)  # fmt: skip
"""Without fsync it loses nothing by the death of its container."""
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


class Containerised(OnServers):
    """The reference control plane in containers of this machine's Docker engine."""

    name = "containers"
    service_kind = ContainerService
    limits = Limits(
        start_s=180.0, stop_s=60.0, settle_s=30.0, client_s=30.0, poll_s=0.02, blocked_s=0.3
    )

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

    def _on_servers(self, plain: Topology) -> Topology:
        on_servers = super()._on_servers(plain)
        return replace(
            on_servers,
            ports={DATABASE: 5432, BUS: 5672},
            environment={**on_servers.environment, "REFERENCE_BIND": "0.0.0.0"},
        )

    def _servers(self) -> tuple[ServiceSpec, ServiceSpec]:
        database = ServiceSpec(
            DATABASE,
            Imaged("postgres", "/var/lib/postgresql/data", _POSTGRES),
            {
                "POSTGRES_USER": USER,
                "POSTGRES_PASSWORD": self._servers_password,
                "POSTGRES_DB": "postgres",
                "POSTGRES_INITDB_ARGS": "--locale=C --encoding=UTF8",
            },
            ready=Asked(_has_database),
            stateless=True,  # what it holds is restored in place
            foreign=True,
        )
        bus = ServiceSpec(
            BUS,
            Imaged("rabbitmq", "/var/lib/rabbitmq"),
            {
                "RABBITMQ_DEFAULT_USER": USER,
                "RABBITMQ_DEFAULT_PASS": self._servers_password,
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none",
            },
            ready=Asked(_has_bus),
            stateless=True,  # its queues are emptied in place
            foreign=True,
        )
        return database, bus

    def _make_nursery(self) -> Nursery:
        return Containers(self._tell, [spec.name for spec in self._order])

    def _make_ports(self) -> Ports:
        return FixedPorts(self.topology)

    def _preload(self) -> list[str]:
        return []

    def _common_environment(self) -> dict[str, str]:
        return {procfs.LABEL: self._running.label}

    def _program(self, spec: ServiceSpec) -> dict[str, Any]:
        if isinstance(spec.start, Imaged):
            return {
                "image": images.image(spec.start.image),
                "arguments": spec.start.arguments,
                "data": spec.start.data,
                "environment": {**self._common_environment(), **spec.environment},
            }
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


def _has_database(target: Containerised, service: Service) -> bool:
    """Whether somebody can log in."""
    psycopg.connect(target.database_address, connect_timeout=5).close()
    return True


def _has_bus(target: Containerised, service: Service) -> bool:
    """Whether somebody can log in."""
    with Connection(target.bus_url, connect_timeout=5) as connection:  # type: ignore[no-untyped-call]
        connection.connect()
    return True


def target() -> Containerised:
    """Make the target; entry point ``chaos.targets:containers``."""
    return Containerised()
