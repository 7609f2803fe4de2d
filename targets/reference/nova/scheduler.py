"""Scheduler: which hosts suit a server, the best first. It changes nothing."""

from __future__ import annotations

from targets.reference import config
from targets.reference.bus import RpcServer
from targets.reference.nova import allocations, databases, process, services
from targets.reference.nova.rpc import bus


class Scheduler:
    """The methods that others call over the bus."""

    def select_hosts(self, vcpus: int, ram: int, disk: int) -> list[str]:
        """Name the hosts with room for such a flavor, weighed by name so that runs are alike."""
        return sorted(allocations.candidates(allocations.resources(vcpus, ram, disk)))


def main() -> None:
    """Run the scheduler."""
    process.begin()
    services.report(services.SCHEDULER, databases.CELL0, config.current().service)
    RpcServer(bus(), "scheduler", config.current().service, Scheduler(), shared=True).start()
    process.serve()
