"""Connect volumes to guests and disconnect them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import AbstractContextManager

from targets.reference.client import BadRequest, NotFound
from targets.reference.nova import deletion, reservations, volumes
from targets.reference.nova.action import record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute.host import GoesOn, Host
from targets.reference.nova.instance import Instance, InstanceNotFound
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import Vm

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
                owner = self._host.get(instance)
                if owner.host != self._host.name:
                    ComputeRpc.attach_volume(owner, device)
                    raise GoesOn(f"{instance} has moved to {owner.host}")
                attach_or_forget(self._host, owner, found)

    def detach_volume(self, instance: str, device: str) -> None:
        """Disconnect a block device, and give its volume back."""
        with self._host.working_on(instance, "detach_volume"):
            found = BlockDevice.get(self._host.cell, device)
            if found:
                owner = self._host.get(instance)
                if owner.host != self._host.name:
                    ComputeRpc.detach_volume(owner, device)
                    raise GoesOn(f"{instance} has moved to {owner.host}")
                detach(self._host, found)
                if owner.vm_state == Vm.RESIZED:
                    _tell_other_cell(owner)


def _tell_other_cell(instance: Instance) -> None:
    """Have a copy in another cell forget the volumes that its instance has not any more."""
    move = Migration.of_instance(instance.cell, instance.uuid)
    if move and move.is_cross_cell:
        ConductorRpc.move_across_cells(move.uuid)


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


def connect(host: Host, device: BlockDevice) -> None:
    """Tell the volume service that this host is about to use a volume."""
    with users_of(host, device.volume):
        volumes.connect_attachment(device.attachment, host.name, device.device)


def disconnect(host: Host, device: BlockDevice) -> None:
    """Take a volume from its guest, and from the host if no other guest here uses it; give it back.

    One at a time: of two guests that lose a volume together, the last one has to know that he is
    (LP#2048837).
    """
    with users_of(host, device.volume):
        _disconnect(host, device.instance, device.volume, device.attachment)
        deletion.give_back(device)


def leave(host: Host, instance: Instance) -> None:
    """Take an instance's volumes from its guest here; they stay its own, on another host."""
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        with users_of(host, device.volume):
            _disconnect(host, instance.uuid, device.volume, device.attachment)


def park(host: Host, device: BlockDevice, others: Collection[str] = ()) -> None:
    """Take a volume from its guest and this host, and keep it for its instance.

    The attachments of ``others`` are none of this host's.
    """
    with users_of(host, device.volume):
        _disconnect(host, device.instance, device.volume, device.attachment)
        reservations.park(device, others)


def take_from(host: Host, device: BlockDevice) -> None:
    """Take a volume from its guest, and from the host; for who holds :func:`users_of`."""
    _disconnect(host, device.instance, device.volume, device.attachment)


def remove_guest(host: Host, uuid: str) -> None:
    """Remove a guest whose instance is deleted or elsewhere: nothing but itself tells its volumes.

    So it has each of them for as long as the host is connected for its sake.
    """
    for volume in host.driver.disks(uuid):
        with users_of(host, volume):
            if not volumes.is_used_on(host.name, volume, ""):
                host.driver.disconnect_volume(volume)
    host.driver.destroy(uuid)


def users_of(host: Host, volume: str) -> AbstractContextManager[None]:
    """Keep those apart who begin and cease to use a volume on this host."""
    return host.locked(f"volume/{volume}")


def _disconnect(host: Host, guest: str, volume: str, attachment: str) -> None:
    host.driver.detach_disk(guest, volume)
    if not volumes.is_used_on(host.name, volume, attachment):
        host.driver.disconnect_volume(volume)


def detach(host: Host, device: BlockDevice) -> None:
    """Disconnect a block device, give its volume back, and forget it."""
    disconnect(host, device)
    device.destroy()


def finish(host: Host, instance: Instance) -> None:
    """Attach and detach what was being attached and detached."""
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        if device.state == DeviceState.ATTACHING:
            attach_or_forget(host, instance, device)
        elif device.state == DeviceState.DETACHING:
            detach(host, device)


def _attach(host: Host, instance: Instance, device: BlockDevice) -> None:
    reserved = reservations.reserve(device)
    if reserved is None:
        raise InstanceNotFound(f"block device {device.id} is gone")
    connect(host, reserved)
    host.driver.attach_disk(instance.uuid, device.volume)
    complete(reserved)
