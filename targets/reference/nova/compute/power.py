"""Reboot, start, stop, pause and unpause guests, and follow what they do by themselves."""

from __future__ import annotations

import logging
from contextlib import suppress

from targets.reference.nova.action import ActionEvent, InstanceAction
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.periodic import periodic_task
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.states import (
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Reboot,
    Task,
    Vm,
)

LOG = logging.getLogger(__name__)


class PowerSwitch:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def reboot(self, instance: str, kind: str) -> None:
        """Reboot the guest, SOFT or HARD."""
        with self._host.working_on(instance, "reboot"):
            reboot(self._host, self._host.get(instance), Reboot(kind))

    def start(self, instance: str) -> None:
        """Start the guest of a stopped instance."""
        with self._host.working_on(instance, "start"):
            start(self._host, self._host.get(instance, Task.POWERING_ON))

    def stop(self, instance: str) -> None:
        """Shut the guest down."""
        with self._host.working_on(instance, "stop"):
            stop(self._host, self._host.get(instance, Task.POWERING_OFF))

    def pause(self, instance: str) -> None:
        """Stop the guest's processors."""
        with self._host.working_on(instance, "pause"):
            pause(self._host, self._host.get(instance, Task.PAUSING))

    def unpause(self, instance: str) -> None:
        """Let the guest go on."""
        with self._host.working_on(instance, "unpause"):
            unpause(self._host, self._host.get(instance, Task.UNPAUSING))


def reboot(host: Host, instance: Instance, kind: Reboot) -> None:
    """Reboot the guest of an instance whose task state is one of that kind of reboot."""
    soft = kind == Reboot.SOFT
    family = SOFT_REBOOT_TASKS if soft else HARD_REBOOT_TASKS
    pending = Task.REBOOT_PENDING if soft else Task.REBOOT_PENDING_HARD
    started = Task.REBOOT_STARTED if soft else Task.REBOOT_STARTED_HARD
    power = host.driver.power_state(instance.uuid)
    instance = instance.save(task_state=pending, power_state=power, expected_task_state=family)
    instance = instance.save(task_state=started, expected_task_state={pending})
    host.driver.reboot(instance, devices.attached(instance), kind)
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=host.driver.power_state(instance.uuid),
        task_state=None,
        expected_task_state={started},
    )


def become_hard(instance: Instance) -> Instance:
    """Make a soft reboot a hard one, whose saves expect the hard states (LP#1072751)."""
    if instance.task_state not in SOFT_REBOOT_TASKS:
        return instance
    return instance.save(task_state=Task.REBOOT_PENDING_HARD, expected_task_state=SOFT_REBOOT_TASKS)


def start(host: Host, instance: Instance) -> None:
    """Start the guest of an instance that is powering on."""
    host.driver.spawn(instance, devices.attached(instance))
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=Power.RUNNING,
        task_state=None,
        expected_task_state={Task.POWERING_ON},
    )


def stop(host: Host, instance: Instance) -> None:
    """Shut down the guest of an instance that is powering off; pull its plug if it is deaf."""
    if not host.driver.shutdown(instance.uuid):
        host.driver.power_off(instance.uuid)
    instance.save(
        vm_state=Vm.STOPPED,
        power_state=host.driver.power_state(instance.uuid),
        task_state=None,
        expected_task_state={Task.POWERING_OFF},
    )


def pause(host: Host, instance: Instance) -> None:
    """Stop the processors of the guest of an instance that is pausing."""
    host.driver.pause(instance.uuid)
    instance.save(
        vm_state=Vm.PAUSED,
        power_state=Power.PAUSED,
        task_state=None,
        expected_task_state={Task.PAUSING},
    )


def unpause(host: Host, instance: Instance) -> None:
    """Let the guest of an instance that is unpausing go on."""
    host.driver.unpause(instance.uuid)
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=Power.RUNNING,
        task_state=None,
        expected_task_state={Task.UNPAUSING},
    )


@periodic_task
def sync_power_states(host: Host) -> None:
    """Record what the guests do, and stop instances that are not what their guest is."""
    for instance in Instance.find(host.cell, host=host.name, task_state=None, hidden=False):
        if record_power_state(host, instance.uuid):
            with host.working_on(instance.uuid, "stop"):
                stop_after_its_guest(host, host.get(instance.uuid))


def record_power_state(host: Host, uuid: str) -> bool:
    """Record what a guest does; return whether its instance is to be stopped."""
    with host.locked(uuid), suppress(InstanceNotFound, UnexpectedTaskState):
        instance = host.get(uuid)
        actual = host.driver.power_state(uuid)
        if instance.host == host.name and not instance.task_state:
            if actual != instance.power_state:
                LOG.info("%s is %s, not %s", uuid, actual.name, instance.power_state.name)
                instance.save(power_state=actual, expected_task_state={None})
            return must_stop(instance.vm_state, actual)
    return False


def stop_after_its_guest(host: Host, instance: Instance) -> None:
    """Stop an instance, if it still is not what its guest is."""
    if instance.host == host.name and must_stop(
        instance.vm_state, host.driver.power_state(instance.uuid)
    ):
        asked = InstanceAction.starting(instance.uuid, "stop")
        stopping = instance.save(
            task_state=Task.POWERING_OFF, expected_task_state={None}, also=asked
        )
        ActionEvent.begin(host.cell, instance.uuid, "stop", host.name)
        stop(host, stopping)


def must_stop(vm_state: Vm, actual: Power) -> bool:
    """Whether an instance is to be stopped, whose guest does something else by itself.

    From Nova's ``_sync_instance_power_state``: a guest that died ends its instance, one that runs
    in spite of it is stopped. A guest that is paused, or not there, is left alone: somebody may
    be at it.
    """
    match vm_state:
        case Vm.ACTIVE | Vm.PAUSED:
            return actual in (Power.SHUTDOWN, Power.CRASHED)
        case Vm.STOPPED:
            return actual in (Power.RUNNING, Power.PAUSED)
    return False
