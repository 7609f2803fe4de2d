"""A host's usage is wrong after a confirmed resize when the periodic task runs meanwhile.

Launchpad bug 1879878. Confirming a resize sets the migration to *confirmed* first, and then drops
the old flavor's claim: only the second is done under the tracker's semaphore. A periodic task that
counts anew between the two leaves out what the confirmed migration had, and the drop takes it away
once more. Seen by *tracked usage* (4).
"""

from __future__ import annotations

import sqlalchemy as sa

from targets.reference.nova import cell_copies, databases
from targets.reference.nova.compute import resizing, snapshot_moves
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import Turn
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import Migration, MoveStatus
from targets.reference.nova.tables import COMPUTE_NODES
from targets.reference.nova.usage import RESOURCES

_drop = snapshot_moves.drop_copy
_confirm = resizing.STEPS[Turn.CONFIRM]


def _confirm_first(host: Host, migration: Migration, instance: Instance) -> None:
    migration.save({MoveStatus.CONFIRMING}, status=MoveStatus.CONFIRMED)
    _confirm(host, migration, instance)


def drop_only(tracker: ResourceTracker, instance: Instance, migration: Migration) -> None:
    """Take the old flavor from what is counted, whatever that is."""
    used = {f"{name}_used": migration.old_flavor[name] for name in RESOURCES}
    less: dict[str, sa.ColumnElement[int]] = {
        name: COMPUTE_NODES.c[name] - amount for name, amount in used.items()
    }
    with databases.cell(migration.cell).transaction() as connection:
        host = migration.source_compute
        connection.execute(COMPUTE_NODES.update().filter_by(host=host).values(**less))


def _drop_copy(tracker: ResourceTracker, copy: Instance, also: Step | None) -> None:
    """Take a copy's flavor from what is counted, whatever that is."""
    less: dict[str, sa.ColumnElement[int]] = {
        f"{name}_used": COMPUTE_NODES.c[f"{name}_used"] - getattr(copy, name) for name in RESOURCES
    }
    with databases.cell(copy.cell).transaction() as connection:
        connection.execute(COMPUTE_NODES.update().filter_by(host=copy.host).values(**less))


def _drop_copy_late(tracker: ResourceTracker, copy: Instance, also: Step | None = None) -> None:
    cell_copies.at_once(copy.cell, cell_copies.hard_delete(copy, also))
    _drop(tracker, copy, also)


def apply() -> None:
    """Confirm outside the semaphore, then drop; also where the copy in another cell goes."""
    ResourceTracker._drop_copy = _drop_copy  # type: ignore[assignment, method-assign]
    snapshot_moves.drop_copy = _drop_copy_late
    ResourceTracker._confirm = drop_only  # type: ignore[assignment, method-assign]
    resizing.STEPS[Turn.CONFIRM] = _confirm_first
