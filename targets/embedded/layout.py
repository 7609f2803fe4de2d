"""How many processes of each kind the embedded control plane has, and which host is in which cell.

A service of which there is one has the name of its kind (``api``); of several each has a number
(``api-1``, ``api-2``), and in a plan the name of the kind means whichever of them serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from targets.placeholders import link
from targets.topology import Forked, ServiceSpec, Topology

_MODULES = {
    "identity": "targets.reference.identity",
    "image": "targets.reference.image",
    "network": "targets.reference.network",
    "volume": "targets.reference.volume.api",
    "placement": "targets.reference.placement.api",
    "bus": "targets.reference.bus.server",
    "scheduler": "targets.reference.nova.scheduler",
    "conductor": "targets.reference.nova.conductor",
    "api": "targets.reference.nova.api",
    "compute": "targets.reference.nova.compute",
    "hypervisor": "targets.reference.nova.hypervisor",
}
_AT_START = (
    "encodings.idna",
    "sqlalchemy.dialects.sqlite",
)
"""What libraries import no sooner than when a service starts: a third of what a start costs."""
_PERIPHERALS = ("identity", "image", "network", "volume", "placement")
_CALLED = {
    **dict.fromkeys(
        ("api", "scheduler", "conductor", "compute"), ("image", "network", "volume", "placement")
    ),
    "volume": ("image",),
}
"""Whom the services of each kind call over HTTP, beside the hypervisor of their host."""
CLIENT = "client"
"""Who uses the links that lead into the control plane."""
_CELL0 = "cell0"


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a control plane; ``hosts`` says of each host in which cell it is."""

    apis: int = 1
    conductors: int = 1
    hosts: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({"host1": "cell1", "host2": "cell1"})
    )

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells, the one without hosts first."""
        return _CELL0, *dict.fromkeys(self.hosts.values())

    @property
    def api_services(self) -> tuple[str, ...]:
        """The processes that serve the compute API."""
        return _numbered("api", self.apis)

    @property
    def conductor_services(self) -> tuple[str, ...]:
        """The processes that share the conductors' queue."""
        return _numbered("conductor", self.conductors)

    @property
    def http_services(self) -> tuple[str, ...]:
        """Everybody who serves HTTP."""
        return (*_PERIPHERALS, *self.api_services, *(f"hypervisor-{host}" for host in self.hosts))

    @property
    def consumers(self) -> Mapping[str, str]:
        """Everybody who takes messages, and the queue that is its own."""
        shared = ("scheduler", *self.conductor_services)
        return {name: f"{_kind(name)}.{name}" for name in shared} | {
            f"compute-{host}": f"compute.{host}" for host in self.hosts
        }

    def topology(self) -> Topology:
        """All services, and what they have in common."""
        return Topology(
            services=tuple(self._services()),
            preload=(*_MODULES.values(), *_AT_START),
            environment={
                "REFERENCE_RUN_DIR": "{run_dir}",
                "REFERENCE_BUGS": "{bugs}",
                "REFERENCE_CELLS": ",".join(self.cells[1:]),
            },
            withheld=("REFERENCE_",),
        )

    def _services(self) -> list[ServiceSpec]:
        found = [self._service(name) for name in (*_PERIPHERALS, "bus")]
        found.append(self._service("scheduler", "bus", "placement"))
        found += [self._service(name, "bus") for name in self.conductor_services]
        found += [self._service(name, "bus") for name in self.api_services]
        for host in self.hosts:
            found.append(self._service(f"hypervisor-{host}", host=host))
        for host in self.hosts:
            needs = (
                "bus", "placement", f"hypervisor-{host}",
                *self.api_services, *self.conductor_services,
            )  # fmt: skip
            found.append(self._service(f"compute-{host}", *needs, host=host))
        return found

    def _service(self, name: str, *after: str, host: str = "") -> ServiceSpec:
        environment = {
            "REFERENCE_SERVICE": name,
            "REFERENCE_HOST": host,
            "REFERENCE_BUS": link(name, "bus") if name != "bus" else "127.0.0.1:{port:bus}",
            "REFERENCE_ENDPOINTS": ",".join(self._endpoints(name, host)),
        }
        if host:
            environment["REFERENCE_CELL"] = self.hosts[host]
        if name in self.http_services:
            environment["REFERENCE_PORT"] = f"{{port:{name}}}"
        # Stateless, as all of them keep what they know in databases: those are restored in place.
        start = Forked(f"{_MODULES[_kind(name)]}:main")
        return ServiceSpec(name, start, environment, after=after, stateless=True)

    def _endpoints(self, name: str, host: str) -> Iterator[str]:
        """Whom a service calls; identity calls nobody, and tells clients where everybody is."""
        if name == "identity":
            for peer in _PERIPHERALS:
                yield f"{peer}=http://{link(CLIENT, peer)}"
            yield f"api=http://{link(CLIENT, self.api_services[0])}"
        if _kind(name) == "hypervisor":
            for peer in (f"hypervisor-{other}" for other in self.hosts if other != host):
                yield f"{peer}=http://{link(name, peer)}"
        called = _CALLED.get(_kind(name), ())
        for peer in (*called, f"hypervisor-{host}") if _kind(name) == "compute" else called:
            yield f"{peer}=http://{link(name, peer)}"


def _kind(service: str) -> str:
    return service.partition("-")[0]


def _numbered(kind: str, count: int) -> tuple[str, ...]:
    return (kind,) if count == 1 else tuple(f"{kind}-{n}" for n in range(1, count + 1))
