"""The reference control plane as processes of this machine, on PostgreSQL and RabbitMQ."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from targets.embedded import servers
from targets.embedded.postgresql import Connection, Moment, Observer, Pristine
from targets.embedded.quiet import Quiet
from targets.embedded.servers import DATABASE, USER
from targets.embedded.target import Embedded, Links
from targets.reference.bus import Bus
from targets.reference.config import bus_token
from targets.topology import Forked, Topology

_PRELOAD = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg", "targets.reference.postgresql")


class OnServers(Embedded):
    """The same services, unchanged, with a database server and a broker that others wrote.

    Raises:
        TargetError: one of the servers is not installed.
    """

    moment = Moment

    def __init__(self) -> None:
        self._servers_password = secrets.token_hex(24)
        self.topology = self._on_servers(self.layout.topology())
        super().__init__()

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Restore all databases in place, by the servers: those have to run."""
        self.services[DATABASE].thaw()
        self.services[DATABASE].start()
        super().reset(bugs, kept)

    def stop(self) -> None:
        """End every service, and close every connection."""
        links = self._links
        super().stop()
        if links is not None:
            self._database.close()

    def database_url(self, name: str) -> str:
        """SQLAlchemy URL of a service's database."""
        return self._url(str(self.port(DATABASE)), name)

    def _url(self, port: str, name: str) -> str:
        address = f"{USER}:{self._servers_password}@127.0.0.1:{port}/postgres"
        return f"postgresql+psycopg://{address}?options=-csearch_path%3D{name}"

    def _on_servers(self, plain: Topology) -> Topology:
        database = servers.postgresql(self._servers_password)
        services = [
            replace(spec, after=(*spec.after, DATABASE)) if isinstance(spec.start, Forked) else spec
            for spec in plain.services
        ]
        url = self._url(f"{{port:{DATABASE}}}", "{{name}}")
        return replace(
            plain,
            services=(database, *services),
            preload=(*plain.preload, *_PRELOAD),
            environment={**plain.environment, "REFERENCE_DATABASE": url},
        )

    def _link(self, run_dir: Path) -> Links:
        address = f"postgresql://{USER}:{self._servers_password}@127.0.0.1:{self.port(DATABASE)}"
        self._database = Connection(f"{address}/postgres")
        return Links(
            Bus(f"127.0.0.1:{self.port('bus')}", bus_token(self._secret)),
            Quiet(run_dir),
            Pristine(self._database),
            Observer(self._database, self.layout.cells, tuple(self.layout.hosts)),
        )


def target() -> OnServers:
    """Make the target; :mod:`suites.on_servers` has it with its words."""
    return OnServers()
