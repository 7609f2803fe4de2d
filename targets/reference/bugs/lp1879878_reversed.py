"""A host's usage is wrong after a confirmed resize whose claim is dropped too early.

Launchpad bug 1879878, the other way round: its fix names this order as the one that would not help.
A periodic task that counts anew after the drop finds the migration in progress, and adds what was
dropped; nobody takes it away again. Seen by *tracked usage* (4).
"""

from __future__ import annotations

import sqlalchemy as sa

from targets.reference.bugs.lp1879878 import drop_only
from targets.reference.nova import databases
from targets.reference.nova.compute import live_migrating, resizing
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import Turn
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import IN_PROGRESS, Migration, MoveStatus
from targets.reference.nova.tables import COMPUTE_NODES
from targets.reference.nova.usage import RESOURCES

_confirm = resizing.STEPS[Turn.CONFIRM]


def _confirm_last(host: Host, migration: Migration, instance: Instance) -> None:
    _confirm(host, migration, instance)
    migration.save({MoveStatus.CONFIRMING}, status=MoveStatus.CONFIRMED)


def _drop_at_dest(tracker: ResourceTracker, migration: Migration) -> None:
    """Take the new flavor from what is counted at the destination, whatever that is."""
    less: dict[str, sa.ColumnElement[int]] = {
        f"{name}_used": COMPUTE_NODES.c[f"{name}_used"] - migration.new_flavor[name]
        for name in RESOURCES
    }
    with databases.cell(migration.cell).transaction() as connection:
        host = migration.dest_compute
        connection.execute(COMPUTE_NODES.update().filter_by(host=host).values(**less))


def _drop_then_fail(host: Host, migration: Migration) -> None:
    host.tracker.drop_move_claim_at_rollback(migration)
    migration.save(IN_PROGRESS, status=MoveStatus.FAILED)


def apply() -> None:
    """Drop, then confirm outside the semaphore; also where a live migration is rolled back."""
    ResourceTracker._roll_back = _drop_at_dest  # type: ignore[assignment, method-assign]
    live_migrating._drop_claim = _drop_then_fail
    ResourceTracker._confirm = drop_only  # type: ignore[assignment, method-assign]
    resizing.STEPS[Turn.CONFIRM] = _confirm_last
