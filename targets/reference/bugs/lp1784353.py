"""A server that its first host refuses can not be built on the next one with its volumes.

Launchpad bug 1784353. A compute that failed to build a server cleaned up after itself, and deleted
the attachments that the request had reserved; the block devices went on naming them. The host that
was chosen next was told that there is no such attachment, and so was every other one. Seen by the
plan's own *steps succeed*: the server never becomes active.
"""

from __future__ import annotations

from targets.reference.nova import volumes
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.compute import building
from targets.reference.nova.compute.host import Host

_refuse = building._refuse


def _shut_down_and_refuse(host: Host, instance: str) -> None:
    for device in BlockDevice.find(host.cell, instance=instance):
        volumes.delete_attachment(device.attachment)
    _refuse(host, instance)


def apply() -> None:
    """Delete the attachments before the next host is asked for, and make none anew."""
    building._refuse = _shut_down_and_refuse
