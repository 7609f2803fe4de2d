"""A server that is deleted by the API itself, as no compute has it, leaves its volumes reserved.

Launchpad bug 1404867. A volume named in the request for a server is reserved at once. When the
server is deleted before a compute has connected it, nobody gave the volume back, nor when no host
had room for it. Seen by *attachments match block devices* (5).
"""

from __future__ import annotations

from targets.reference.nova import allocations, build_task, deletion
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.instance import Instance


def _remove_unhosted(instance: Instance) -> None:
    for device in BlockDevice.find(instance.cell, instance=instance.uuid):
        device.destroy()
    allocations.release(instance.uuid)
    instance.destroy()


def _release_what_it_holds(instance: Instance) -> None:
    allocations.release(instance.uuid)


def apply() -> None:
    """Remove records and allocations only."""
    deletion.remove_unhosted = _remove_unhosted
    build_task.release_what_it_holds = _release_what_it_holds
