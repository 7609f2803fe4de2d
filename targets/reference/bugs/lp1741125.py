"""A resize that its first host refuses loses what the next host has given it, now and then.

Launchpad bug 1741125. A compute that could not take a server asked for another host first, and only
then gave the migration's allocations back to the server. Whoever chooses the other host may have
claimed it by then: its allocation is overwritten by that of the source. Seen by *allocations are
the sum of the flavors* (3).
"""

from __future__ import annotations

from targets.reference.nova import allocations
from targets.reference.nova.compute import resizing
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration

_refuse = resizing._refuse


def _refuse_then_revert(host: Host, migration: Migration, instance: Instance) -> None:
    _refuse(host, migration, instance)
    allocations.give_back(migration.uuid, instance.uuid)


def apply() -> None:
    """Revert the allocations after the move was handed on."""
    resizing._refuse = _refuse_then_revert
