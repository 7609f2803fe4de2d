"""A server that is deleted by the API itself, as no compute has it, keeps its allocations.

Launchpad bug 1679750. The scheduler has claimed a host's resources in placement, and the API, which
removes the server's records when no compute can, did not know of them. Seen by *allocations are the
sum of the flavors* (3) and *recoverable* (13).
"""

from __future__ import annotations

from targets.reference.nova import deletion, volumes
from targets.reference.nova.instance import Instance


def _remove_unhosted(instance: Instance) -> None:
    deletion.release_volumes(instance)
    for attachment in volumes.attachments_of(instance.uuid).values():
        volumes.delete_attachment(attachment)
    instance.destroy()


def apply() -> None:
    """Remove records and attachments only."""
    deletion.remove_unhosted = _remove_unhosted
