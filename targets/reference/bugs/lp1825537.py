"""A server whose move fails at its destination loses the allocation there.

Launchpad bug 1825537. When the destination cannot make the guest, the migration's allocations are
given back to the server as if it were at its source again; but its record says that it is at the
destination, with the new flavor. Seen by *allocations are the sum of the flavors* (3).
"""

from __future__ import annotations

from targets.reference.nova import allocations
from targets.reference.nova.compute import resizing
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import Turn
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration

_give_up = resizing.GIVE_UP[Turn.FINISH]


def _revert_allocations(host: Host, migration: Migration, instance: Instance) -> None:
    allocations.give_back(migration.uuid, instance.uuid)
    _give_up(host, migration, instance)


def apply() -> None:
    """Give the allocations back to the source."""
    resizing.GIVE_UP[Turn.FINISH] = _revert_allocations
