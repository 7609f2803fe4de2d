"""Give back what was claimed for a server of which there is nothing any more.

Two conductors may be at one build that a delete stops: the one removes the last record while the
other has just claimed a host, and dies before it looks again. So one that starts looks for it.
"""

from __future__ import annotations

import logging

from targets.reference.client import Unreachable
from targets.reference.nova import allocations, databases
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ConductorRpc, retry_delay_s

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


def release(attempt: int) -> None:
    """Release every allocation whose consumer has no record; some attempts are made."""
    try:
        held = allocations.consumers()  # before the records: those are there before the claim
        owners = {mapping.instance for mapping in InstanceMapping.find()}
        for cell in databases.cells():
            owners |= {migration.uuid for migration in Migration.find(cell)}
        for consumer in held - owners:
            LOG.warning("nobody owns what %s holds: giving it back", consumer)
            allocations.release(consumer)
    except Unreachable as error:
        LOG.warning("looking for what nobody owns, attempt %d: %s", attempt, error)
        if attempt < LAST_ATTEMPT:
            ConductorRpc.release_orphans(attempt + 1, retry_delay_s(attempt))
