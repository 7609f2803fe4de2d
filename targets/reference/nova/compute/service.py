"""The compute's process: recovers what it finds, then serves its queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from targets.reference import config, context, tokens
from targets.reference.bus import RpcServer
from targets.reference.client import Unreachable
from targets.reference.nova import databases, process, services
from targets.reference.nova.compute import upkeep
from targets.reference.nova.compute.building import Builder
from targets.reference.nova.compute.devices import Devices
from targets.reference.nova.compute.driver import Driver
from targets.reference.nova.compute.evacuating import Evacuator
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.live_migrating import LiveMigrator
from targets.reference.nova.compute.moving import Mover
from targets.reference.nova.compute.periodic import PeriodicTasks
from targets.reference.nova.compute.power import PowerSwitch
from targets.reference.nova.compute.rebuilding import Rebuilder
from targets.reference.nova.compute.recoverer import Recoverer
from targets.reference.nova.compute.resizing import Resizer
from targets.reference.nova.compute.shelving import Shelver
from targets.reference.nova.compute.snapshot_moves import SnapshotMover
from targets.reference.nova.compute.snapshots import Photographer
from targets.reference.nova.compute.soft_delete import SoftDeleter
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.rpc import bus

LOG = logging.getLogger(__name__)

UPKEEP = (upkeep,)
"""Modules that add periodic tasks, and nothing else: it is enough to import them."""
OPERATIONS = (
    Builder, PowerSwitch, Devices, Photographer, Rebuilder, Mover, Resizer, Shelver,
    SoftDeleter, SnapshotMover, Evacuator, LiveMigrator,
    PeriodicTasks,
)  # fmt: skip
"""What a compute can be asked to do over the bus, beside looking at an instance again."""


def main() -> None:
    """Run the compute of ``REFERENCE_HOST``."""
    process.begin()
    cell, name = databases.local_cell(), config.current().host
    tracker = ResourceTracker(cell, name)
    host = Host(cell, name, Driver(name), tracker)
    recoverer = Recoverer(host)

    def recover(*steps: Callable[[], None]) -> None:
        with context.use(tokens.service_context()):
            try:
                for step in steps:
                    step()
            except Unreachable:
                # Instances that could not be looked at are in the queue already.
                LOG.exception("something is down; going on all the same")

    with context.use(tokens.service_context()):
        tracker.register()
        services.report(services.COMPUTE, cell, name)
    recover(recoverer.init_host)
    seen_to_be_up = (recoverer.remove_deleted_guests, Evacuator(host).forget_evacuated)
    bus().on_reconnect = partial(recover, recoverer.init_host, *seen_to_be_up)
    endpoints = (recoverer, *(operation(host) for operation in OPERATIONS))
    RpcServer(bus(), "compute", name, *endpoints).start()
    recover(*seen_to_be_up)
    process.serve()
