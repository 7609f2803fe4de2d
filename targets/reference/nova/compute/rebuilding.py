"""Make a server's guest anew, from the image that its record names, with the volumes that it has.

A rebuild that a crash cut off is not taken up: like Nova's, the server ends in ERROR and waits for
its user, who may rebuild it again.
"""

from __future__ import annotations

import logging

from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Power, Task, Vm

LOG = logging.getLogger(__name__)


class Rebuilder:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def rebuild(self, instance: str) -> None:
        """Make the guest anew."""
        with self._host.working_on(instance, "rebuild"):
            rebuild(self._host, self._host.get(instance))


def rebuild(host: Host, instance: Instance) -> None:
    """Replace the guest of an instance that waits for it; one that was stopped stays so."""
    instance = instance.save(
        task_state=Task.REBUILD_BLOCK_DEVICE_MAPPING, expected_task_state={Task.REBUILDING}
    )
    host.driver.destroy(instance.uuid)
    kept = BlockDevice.find(host.cell, instance=instance.uuid, state=DeviceState.ATTACHED)
    for device in kept:
        devices.connect(host, device)
    instance = instance.save(
        task_state=Task.REBUILD_SPAWNING,
        power_state=Power.NOSTATE,
        expected_task_state={Task.REBUILD_BLOCK_DEVICE_MAPPING},
    )
    host.driver.spawn(instance, [device.volume for device in kept])
    for device in kept:
        devices.complete(device)
    stopped = instance.vm_state == Vm.STOPPED
    if stopped:
        host.driver.power_off(instance.uuid)
    instance.save(
        vm_state=Vm.STOPPED if stopped else Vm.ACTIVE,
        power_state=Power.SHUTDOWN if stopped else Power.RUNNING,
        task_state=None,
        expected_task_state={Task.REBUILD_SPAWNING},
    )


def give_up(host: Host, instance: Instance) -> None:
    """Leave an instance in ERROR whose rebuild was cut off."""
    LOG.warning("the rebuild of %s was interrupted", instance.uuid)
    record_fault(host.cell, instance.uuid, "the rebuild was interrupted")
    instance.save(
        vm_state=Vm.ERROR,
        power_state=host.driver.power_state(instance.uuid),
        task_state=None,
        expected_task_state={instance.task_state},
    )
    InstanceAction.finish_all(host.cell, instance.uuid, "Error")
