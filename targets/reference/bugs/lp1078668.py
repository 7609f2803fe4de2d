"""Whose server an administrator deletes, keeps what it used of his quota.

Launchpad bug 1078668. What a deleted server had used was given back to the project of who deleted
it, not to that of its owner, who could make no new one in the end. Seen by *quota matches servers*
(7).
"""

from __future__ import annotations

from targets.reference import context
from targets.reference.nova import databases
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.tables import INSTANCE_MAPPINGS


def _queue_for_delete(instance: str) -> None:
    his = {"instance": instance, "project_id": context.current().project_id}
    with databases.api().transaction() as connection:
        gone = INSTANCE_MAPPINGS.update().filter_by(**his).values(queued_for_delete=True)
        connection.execute(gone)


def apply() -> None:
    """Mark the server's mapping only for a caller of the same project."""
    InstanceMapping.queue_for_delete = staticmethod(_queue_for_delete)  # type: ignore[method-assign]
