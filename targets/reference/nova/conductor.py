"""Conductor: brings an accepted server into a cell and hands it to a compute.

There may be any number of them. They share a queue, keep nothing in memory, and none of them knows
of the others: see :mod:`.build_task` and :mod:`.migrate_task` for what keeps two from doing the
same thing twice.
"""

from __future__ import annotations

from targets.reference import config, context, tokens
from targets.reference.bus import RpcServer
from targets.reference.nova import (
    build_task,
    cross_cell,
    databases,
    migrate_task,
    orphans,
    process,
    rehome_task,
    services,
    settings,
    unshelve_task,
)
from targets.reference.nova.rpc import ConductorRpc, bus


class Conductor:
    """The methods that others call over the bus."""

    def build_instance(self, instance: str, attempt: int = 0) -> None:
        """Carry out a build request, or give back what there is of one that was deleted."""
        build_task.run(instance, attempt)

    def migrate_server(self, cell: str, migration: str, attempt: int = 0) -> None:
        """Find a host for a server that is to be moved, and have it claimed there."""
        migrate_task.run(cell, migration, attempt)

    def evacuate_server(self, cell: str, migration: str, attempt: int = 0) -> None:
        """Find a host for a server whose own is down, and have it made anew there."""
        rehome_task.run(cell, migration, attempt)

    def live_migrate_server(self, cell: str, migration: str, attempt: int = 0) -> None:
        """Find a host for a server that is to be moved while it runs, and have it begin."""
        rehome_task.run(cell, migration, attempt)

    def move_across_cells(self, migration: str, attempt: int = 0) -> None:
        """Do the next thing for a move to another cell, or have a host do it."""
        cross_cell.run(migration, attempt)

    def resume_moves_of(self, compute: str) -> None:
        """Take up the moves between cells of which a host has a part."""
        cross_cell.resume(compute)

    def unshelve_instance(self, cell: str, instance: str, attempt: int = 0) -> None:
        """Choose a host for an instance that is shelved and on none."""
        unshelve_task.run(cell, instance, attempt)

    def release_orphans(self, attempt: int = 0) -> None:
        """Give back what is claimed for nobody."""
        with context.use(tokens.service_context(context.current_request_id() or "")):
            orphans.release(attempt)

    def recover(self) -> None:
        """Take up every build, every move and every unshelve that stopped half-way."""
        with context.use(tokens.service_context(context.current_request_id() or "")):
            build_task.resume()
            migrate_task.resume()
            rehome_task.resume()
            cross_cell.resume()
            unshelve_task.resume()


def main() -> None:
    """Run the conductor."""
    process.begin()
    databases.api()
    for cell in databases.cells():
        databases.cell(cell)
    conductor = Conductor()
    services.report(services.CONDUCTOR, databases.CELL0, config.current().service)
    bus().on_reconnect = conductor.recover
    endpoints = (conductor, settings.Configurator())
    RpcServer(bus(), "conductor", config.current().service, *endpoints, shared=True).start()
    conductor.recover()
    with context.use(tokens.service_context()):
        ConductorRpc.release_orphans()
    process.serve()
