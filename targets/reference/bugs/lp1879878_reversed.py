"""A host's usage is wrong after a confirmed resize whose claim is dropped too early.

Launchpad bug 1879878, the other way round: its fix names this order as the one that would not help.
A periodic task that counts anew after the drop finds the migration in progress, and adds what was
dropped; nobody takes it away again. Seen by *tracked usage* (4).
"""

from __future__ import annotations

from targets.reference.bugs.lp1879878 import drop_only
from targets.reference.nova.compute import resizing
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import Turn
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration, MoveStatus

_confirm = resizing.STEPS[Turn.CONFIRM]


def _confirm_last(host: Host, migration: Migration, instance: Instance) -> None:
    _confirm(host, migration, instance)
    migration.save({MoveStatus.CONFIRMING}, status=MoveStatus.CONFIRMED)


def apply() -> None:
    """Drop, then confirm outside the semaphore."""
    ResourceTracker._confirm = drop_only  # type: ignore[assignment, method-assign]
    resizing.STEPS[Turn.CONFIRM] = _confirm_last
