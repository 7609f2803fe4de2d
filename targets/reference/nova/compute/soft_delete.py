"""Keep a deleted server for a while, so that its user may have it back."""

from __future__ import annotations

from targets.reference.nova.action import ActionEvent, InstanceAction
from targets.reference.nova.compute import building, devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.periodic import periodic_task
from targets.reference.nova.instance import Instance
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.states import Power, Task, Vm


class SoftDeleter:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def soft_delete(self, instance: str) -> None:
        """Shut the guest off, and keep it."""
        with self._host.working_on(instance, "delete"):
            soft_delete(self._host, self._host.get(instance))

    def restore(self, instance: str) -> None:
        """Start the guest again."""
        with self._host.working_on(instance, "restore"):
            restore(self._host, self._host.get(instance))


def soft_delete(host: Host, instance: Instance) -> None:
    """Shut off the guest of an instance that is being deleted softly."""
    if host.driver.power_state(instance.uuid) != Power.NOSTATE:
        host.driver.power_off(instance.uuid)
    instance.save(
        vm_state=Vm.SOFT_DELETED,
        power_state=host.driver.power_state(instance.uuid),
        task_state=None,
        expected_task_state={Task.SOFT_DELETING},
    )


def restore(host: Host, instance: Instance) -> None:
    """Start the guest of an instance that its user wants back."""
    host.driver.spawn(instance, devices.attached(instance))
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=Power.RUNNING,
        task_state=None,
        expected_task_state={Task.RESTORING},
    )


@periodic_task
def reclaim_queued_deletes(host: Host) -> None:
    """Delete for good what was deleted softly: the time in which it could be restored is over."""
    for instance in Instance.find(host.cell, host=host.name, vm_state=Vm.SOFT_DELETED):
        with host.working_on(instance.uuid, "delete"):
            reclaim(host, host.get(instance.uuid))


def reclaim(host: Host, instance: Instance) -> None:
    """Do so for one instance, unless it is being restored."""
    if instance.vm_state == Vm.SOFT_DELETED and instance.task_state is None:
        asked = InstanceAction.starting(instance.uuid, "delete")
        marked = instance.save(task_state=Task.DELETING, expected_task_state={None}, also=asked)
        ActionEvent.begin(host.cell, instance.uuid, "delete", host.name)
        InstanceMapping.queue_for_delete(instance.uuid)
        building.terminate(host, marked)


@periodic_task
def cleanup_running_deleted_instances(host: Host) -> None:
    """Remove guests whose instance is deleted."""
    for guest in host.driver.guests():
        if Instance.is_deleted(host.cell, guest):
            with host.locked(guest):
                devices.remove_guest(host, guest)
