"""A server that was over quota when it was built leaves its volumes reserved.

Launchpad bug 1806064. Two requests at one time both pass the API's look at the quota, so the
conductor looks again, and puts into ERROR what is too much. It did so before it wrote down the
server's block devices, and what deleted the server knew of no volume to give back. Seen by
*attachments match block devices* (5).
"""

from __future__ import annotations

from targets.reference.nova import allocations, build_task, deletion
from targets.reference.nova.instance import Instance


def _release_what_it_holds(instance: Instance) -> None:
    allocations.release(instance.uuid)


def _remove_unhosted(instance: Instance) -> None:
    deletion.release_volumes(instance)  # those that have a block device
    allocations.release(instance.uuid)
    instance.destroy()


def apply() -> None:
    """Give back only what a block device names."""
    deletion.remove_unhosted = _remove_unhosted
    build_task.release_what_it_holds = _release_what_it_holds
