"""Reserve the volume of a block device: once, whoever is at it and how often."""

from __future__ import annotations

from collections.abc import Collection

from targets.reference.nova import volumes
from targets.reference.nova.block_device import BlockDevice


def reserve(device: BlockDevice) -> BlockDevice | None:
    """Return the block device with its attachment; None when it is gone, and nothing reserved.

    An API may be at it and a compute that took over from another one, so a shared volume may get
    two attachments; the one that is noted first stays.

    Raises:
        BadRequest: somebody else has the volume.
        NotFound: there is no such volume.
    """
    if device.attachment:
        return device
    found = volumes.attachments_of(device.instance).get(device.volume)
    return note(device, found or volumes.create_attachment(device.instance, device.volume))


def note(device: BlockDevice, attachment: str) -> BlockDevice | None:
    """Write down what reserves a block device's volume; give it back if something else does."""
    noted = device.note(attachment)
    if noted is None or noted.attachment != attachment:
        volumes.delete_attachment(attachment)
    return noted


def park(device: BlockDevice, others: Collection[str] = ()) -> None:
    """Have a volume reserved, and connected to no host, for an instance that is on none.

    The attachments of ``others`` stay.
    """
    parked = volumes.reserve_anew(device.instance, device.volume, others)
    device.save(attachment=parked)
    for other in volumes.attachment_ids(device.instance, device.volume):
        if other != parked and other not in others:
            volumes.delete_attachment(other)
