"""The reference control plane as processes of this machine, on PostgreSQL and RabbitMQ."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from chaos.point import Point
from chaos.target import ServiceState
from targets.embedded import servers
from targets.embedded.points import POINTS
from targets.embedded.postgresql import Connection, Moment, Observer, Pristine
from targets.embedded.quiet import Quiet
from targets.embedded.servers import BUS, DATABASE, USER
from targets.embedded.target import PATIENCE_S, Embedded, Links
from targets.placeholders import link
from targets.reference.bus import BusUnreachable
from targets.reference.bus.rabbit_bus import RabbitBus
from targets.topology import ServiceSpec, Topology

_PRELOAD = (
    "kombu.transport.pyamqp",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "targets.reference.bus.rabbit_bus",
    "targets.reference.postgresql",
)
_SHARED_QUEUES = ("conductor", "scheduler")


class OnServers(Embedded):
    """The same services, unchanged, with a database server and a broker that others wrote.

    Raises:
        TargetError: one of the servers is not installed.
    """

    moment = Moment
    points = {
        **POINTS,
        "database.commit": Point(
            "targets.reference.postgresql:commit", "*", "commit what was written"
        ),
    }

    def __init__(self) -> None:
        self._servers_password = secrets.token_hex(24)
        self.topology = self._on_servers(self.layout.topology())
        super().__init__()

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Restore all databases in place, by the servers: those have to run."""
        for name in (DATABASE, BUS):
            self.services[name].thaw()
            self.services[name].start()
        super().reset(bugs, kept)

    def under_way(self, requests: Collection[str]) -> tuple[str, ...]:
        """Ask those who take messages, and only those who can answer: it costs more than a broker.

        Whoever is on his way up or down, or frozen, is no part of what goes on by itself.
        """
        if self.services[BUS].state is not ServiceState.READY:
            return ()
        silent = [
            queue
            for name, queue in self.layout.consumers.items()
            if self.services[name].state is not ServiceState.READY
        ]
        try:
            return tuple(self.bus.under_way(requests, silent, PATIENCE_S))
        except BusUnreachable as error:
            return (f"bus: {error}",) if self._has_bus else ()

    def stop(self) -> None:
        """End every service, and close every connection."""
        links = self._links
        super().stop()
        if links is not None:
            self._database.close()

    @property
    def bus_url(self) -> str:
        """URL of RabbitMQ."""
        return self._amqp(self.listener(BUS))

    @property
    def database_address(self) -> str:
        """Where PostgreSQL is, as its own clients take it."""
        return f"postgresql://{USER}:{self._servers_password}@{self.listener(DATABASE)}/postgres"

    def database_url(self, name: str) -> str:
        """SQLAlchemy URL of a service's database."""
        return self._url(self.listener(DATABASE), name)

    def _url(self, address: str, name: str) -> str:
        server = f"{USER}:{self._servers_password}@{address}/postgres"
        return f"postgresql+psycopg://{server}?options=-csearch_path%3D{name}"

    def _amqp(self, address: str) -> str:
        return f"amqp://{USER}:{self._servers_password}@{address}//"

    def _on_servers(self, plain: Topology) -> Topology:
        database, bus = self._servers()
        services = [self._served(spec) for spec in plain.services if spec.name != BUS]
        return replace(
            plain,
            services=(bus, database, *services),  # that which takes longest first
            preload=(*plain.preload, *_PRELOAD),
        )

    def _servers(self) -> tuple[ServiceSpec, ServiceSpec]:
        """The database and the broker."""
        password = self._servers_password
        return servers.postgresql(password), servers.rabbitmq(password)

    def _served(self, spec: ServiceSpec) -> ServiceSpec:
        """The same service, which reaches each of the servers by a link of its own."""
        theirs = {
            "REFERENCE_DATABASE": self._url(link(spec.name, DATABASE), "{{name}}"),
            "REFERENCE_BUS": self._amqp(link(spec.name, BUS)),
        }
        return replace(
            spec, environment={**spec.environment, **theirs}, after=(*spec.after, DATABASE)
        )

    def _forget_messages(self) -> None:
        for name in self.layout.consumers:
            self.services[name].kill()
        # What they had not taken goes back to the queues when RabbitMQ hears that they are dead.
        until_unheard = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(self.limits.stop_s),
            wait=wait_fixed(self.limits.poll_s),
        )
        listening = self._open.bus.listening()
        until_unheard(lambda: [q for q in self.layout.consumers.values() if q in listening])

    def _link(self, run_dir: Path) -> Links:
        self._database = Connection(self.database_address)
        return Links(
            RabbitBus(
                self.bus_url,
                [*self.layout.consumers.values()],
                _SHARED_QUEUES,
            ),
            Quiet(run_dir),
            Pristine(self._database),
            Observer(self._database, self.layout.cells, tuple(self.layout.hosts)),
        )


def target() -> OnServers:
    """Make the target; :mod:`suites.on_servers` has it with its words."""
    return OnServers()
