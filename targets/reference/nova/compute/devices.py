"""Connect volumes to guests and disconnect them."""

from __future__ import annotations

import logging

from targets.reference.client import BadRequest, NotFound
from targets.reference.nova import deletion, volumes
from targets.reference.nova.action import record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance, InstanceNotFound

LOG = logging.getLogger(__name__)


class Devices:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def attach_volume(self, instance: str, device: str) -> None:
        """Connect a block device that the API has written down."""
        with self._host.working_on(instance, "attach_volume"):
            found = BlockDevice.get(self._host.cell, device)
            if found and found.state == DeviceState.ATTACHING:
                attach_or_forget(self._host, self._host.get(instance), found)

    def detach_volume(self, instance: str, device: str) -> None:
        """Disconnect a block device, and give its volume back."""
        with self._host.working_on(instance, "detach_volume"):
            found = BlockDevice.get(self._host.cell, device)
            if found:
                detach(self._host, found)


def attached(instance: Instance) -> list[str]:
    """Name the volumes that an instance has."""
    found = BlockDevice.find(instance.cell, instance=instance.uuid, state=DeviceState.ATTACHED)
    return [device.volume for device in found]


def attach_or_forget(host: Host, instance: Instance, device: BlockDevice) -> None:
    """Connect a block device; when its volume is not to be had, give back what there is."""
    try:
        _attach(host, instance, device)
    except (BadRequest, NotFound) as error:
        LOG.warning("volume %s can not be attached: %s", device.volume, error)
        record_fault(host.cell, instance.uuid, f"attach_volume: {error}")
        detach(host, device)


def complete(device: BlockDevice) -> None:
    """Record, on both sides, that a volume is in use."""
    volumes.complete_attachment(device.attachment)
    device.save(state=DeviceState.ATTACHED)


def detach(host: Host, device: BlockDevice) -> None:
    """Disconnect a block device, give its volume back, and forget it."""
    host.driver.detach_disk(device.instance, device.volume)
    deletion.give_back(device)
    device.destroy()


def finish(host: Host, instance: Instance) -> None:
    """Attach and detach what was being attached and detached."""
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        if device.state == DeviceState.ATTACHING:
            attach_or_forget(host, instance, device)
        elif device.state == DeviceState.DETACHING:
            detach(host, device)


def _attach(host: Host, instance: Instance, device: BlockDevice) -> None:
    attachment = volumes.create_attachment(instance.uuid, device.volume)
    reserved = device.save(attachment=attachment)
    if reserved is None:
        raise InstanceNotFound(f"block device {device.id} is gone")
    volumes.connect_attachment(attachment, host.name, device.device)
    host.driver.attach_disk(instance.uuid, device.volume)
    complete(reserved)
