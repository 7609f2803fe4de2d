"""Scheduler: which hosts suit a server, the best first. It changes nothing."""

from __future__ import annotations

from typing import Any

from targets.reference import config
from targets.reference.bus import RpcServer
from targets.reference.nova import allocations, databases, host_filters, process, services
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import bus


class Scheduler:
    """The methods that others call over the bus."""

    def select_hosts(self, spec: dict[str, Any]) -> list[str]:
        """Name the hosts that will do, the best first.

        Those of the cell that is wanted near come before others, and then it is by name, so that
        runs are alike.
        """
        wanted = RequestSpec(**spec)
        room = allocations.candidates(allocations.resources(wanted.vcpus, wanted.ram, wanted.disk))
        around = host_filters.look_around(wanted)
        found = host_filters.passing(room, wanted, around)
        return sorted(found, key=lambda host: (wanted.near != around.cells[host], host))


def main() -> None:
    """Run the scheduler."""
    process.begin()
    services.report(services.SCHEDULER, databases.CELL0, config.current().service)
    RpcServer(bus(), "scheduler", config.current().service, Scheduler(), shared=True).start()
    process.serve()
