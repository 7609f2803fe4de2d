"""A move that is rolled back makes the allocations of a server that was deleted meanwhile anew.

Launchpad bug 1848343. The rollback knows what the server held at its source, and writes that again
without a look whether somebody has deleted the server, and its allocations, by then. Seen by
*allocations are the sum of the flavors* (3) and *recoverable* (13).
"""

from __future__ import annotations

from targets.reference.nova import allocations, migrate_task
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration

_refuse = migrate_task._refuse


def _refuse_and_restore(migration: Migration, instance: Instance | None, why: str) -> None:
    assert instance
    try:
        _refuse(migration, instance, why)
    finally:
        wanted = allocations.of_flavor(migration.old_flavor)
        owner = (instance.project_id, instance.user_id)
        allocations.claim(instance.uuid, migration.source_compute, wanted, *owner)


def _forget(migration: Migration, instance: Instance | None) -> None:
    """The conductor of old did not look again."""


def apply() -> None:
    """Write what the server held, whatever has happened."""
    migrate_task._refuse = _refuse_and_restore
    migrate_task._clear_up = _forget
