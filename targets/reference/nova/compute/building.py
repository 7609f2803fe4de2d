"""Build servers and remove them."""

from __future__ import annotations

import logging

from targets.reference.database import utc_now
from targets.reference.nova import allocations, deletion, images, ports
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.compute import devices, moving
from targets.reference.nova.compute.host import GoesOn, Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ConductorRpc
from targets.reference.nova.states import Power, Task, Vm
from targets.reference.nova.usage import ComputeResourcesUnavailable

LOG = logging.getLogger(__name__)


class Builder:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def build(self, instance: str) -> None:
        """Make ports, volumes and the guest of an instance that nobody has claimed yet."""
        with self._host.working_on(instance, "create"):
            claimed = claim(self._host, instance)
            if claimed is None:
                LOG.info("%s is not to be built any more", instance)
                return
            build(self._host, claimed)

    def terminate(self, instance: str) -> None:
        """Remove an instance and everything that hangs on it, the record last."""
        with self._host.working_on(instance, "delete"):
            found = Instance.get(self._host.cell, instance)
            if found:
                terminate(self._host, found)
            elif Instance.is_deleted(self._host.cell, instance):
                # By an API that saw this host down: all but the guest is gone.
                devices.remove_guest(self._host, instance)
                self._host.tracker.update()


def is_to_be_built(host: Host, instance: Instance) -> bool:
    """Whether an instance was given to this host, which has not claimed it: that failed."""
    given = instance.node == host.name and instance.host is None
    return given and instance.task_state == Task.SCHEDULING


def begin(host: Host, instance: Instance, give_up: bool) -> None:
    """Claim an instance and build it; when that failed too often, leave it in ERROR."""
    if give_up:
        abandon(host, instance, "the host could not claim it")
        InstanceAction.finish(host.cell, instance.uuid, "create", "Error")
    elif claimed := claim(host, instance.uuid):
        build(host, claimed)
        InstanceAction.finish(host.cell, instance.uuid, "create")


def claim(host: Host, instance: str) -> Instance | None:
    """Take an instance for this host; None when that is not possible any more.

    Raises:
        GoesOn: there is no room for it, and another host is to be chosen.
    """
    try:
        return host.tracker.claim(instance)
    except ComputeResourcesUnavailable as error:
        _refuse(host, instance)
        raise GoesOn(f"{instance} is to be built elsewhere: {error}") from error


def _refuse(host: Host, instance: str) -> None:
    refused = host.get(instance)
    if refused.host is None and refused.node == host.name:
        refused.save(node=None, expected_task_state={Task.SCHEDULING})
        ConductorRpc.build_instance(instance, attempt=1)


def build(host: Host, instance: Instance) -> None:
    """Make ports, volumes and the guest of an instance that was claimed for this host."""
    made = [
        ports.bind(port, instance.uuid, host.name)
        if ports.is_given(port)
        else ports.create(instance.uuid, host.name, instance.project_id, port)
        for port in instance.requested_networks
    ]
    instance = instance.save(
        ports=made,
        task_state=Task.BLOCK_DEVICE_MAPPING,
        expected_task_state={Task.NETWORKING},
    )
    wanted = BlockDevice.find(host.cell, instance=instance.uuid)
    for device in wanted:
        devices.connect(host, device)
    instance = instance.save(
        task_state=Task.SPAWNING, expected_task_state={Task.BLOCK_DEVICE_MAPPING}
    )
    host.driver.spawn(instance, [device.volume for device in wanted])
    for device in wanted:
        devices.complete(device)
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=Power.RUNNING,
        task_state=None,
        launched_at=utc_now(),
        expected_task_state={Task.SPAWNING},
    )


def abandon(host: Host, instance: Instance, why: str) -> None:
    """Give back what a build has made, and leave the instance in ERROR, on no host."""
    LOG.warning("build of %s is given up: %s", instance.uuid, why)
    host.driver.destroy(instance.uuid)
    ports.release(instance.uuid, instance.requested_networks)
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        devices.detach(host, device)
    allocations.release(instance.uuid)
    record_fault(host.cell, instance.uuid, why)
    over = InstanceAction.finishing_all(instance.uuid, "Error")
    host.tracker.disown(
        instance, over, vm_state=Vm.ERROR, task_state=None, power_state=Power.NOSTATE, ports=[]
    )


def terminate(host: Host, instance: Instance) -> None:
    """Give back everything that hangs on an instance, then delete its record.

    Raises:
        GoesOn: another host has something of it yet, and calls again when it has no more.
    """
    move = Migration.of_instance(host.cell, instance.uuid)
    if move and move.is_cross_cell:
        ConductorRpc.move_across_cells(move.uuid)
        raise GoesOn(f"{instance.uuid} is in another cell as well")
    if move and moving.still_elsewhere(host, move):
        raise GoesOn(f"{instance.uuid} has left something on another host")
    host.driver.destroy(instance.uuid)
    ports.release(instance.uuid, instance.requested_networks)
    for device in devices_to_release(instance):
        devices.disconnect(host, device)
        deletion.end_volume(device)
    images.forget_of(instance)
    for migration in Migration.find(host.cell, instance=instance.uuid):
        allocations.release(migration.uuid)
    allocations.release(instance.uuid)
    host.tracker.destroy(instance)
    if move:
        moving.tell_others(host, move)


def devices_to_release(instance: Instance) -> list[BlockDevice]:
    """Return the block devices of an instance that is being deleted.

    They are read now, under the lock: a detach that was at it before is finished (LP#2067869).
    """
    return BlockDevice.find(instance.cell, instance=instance.uuid)
