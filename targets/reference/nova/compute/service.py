"""The compute's process: recovers what it finds, then serves its queue."""

from __future__ import annotations

import logging

from targets.reference import config, context, tokens
from targets.reference.bus import RpcServer
from targets.reference.client import Unreachable
from targets.reference.nova import databases, process
from targets.reference.nova.compute.driver import Driver
from targets.reference.nova.compute.manager import Compute
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.rpc import bus

LOG = logging.getLogger(__name__)


def main() -> None:
    """Run the compute of ``REFERENCE_HOST``."""
    process.begin()
    cell, host = databases.local_cell(), config.current().host
    tracker = ResourceTracker(cell, host)
    compute = Compute(cell, host, Driver(host), tracker)

    def recover() -> None:
        with context.use(tokens.service_context()):
            try:
                compute.init_host()
            except Unreachable:
                # Instances that could not be looked at are in the queue already.
                LOG.exception("something is down; going on all the same")

    with context.use(tokens.service_context()):
        tracker.register()
    recover()
    bus().on_reconnect = recover
    RpcServer(bus(), "compute", host, compute).start()
    process.serve()
