"""Reboot, start and stop guests."""

from __future__ import annotations

from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import (
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Reboot,
    Task,
    Vm,
)


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
            start(self._host, self._host.get(instance))

    def stop(self, instance: str) -> None:
        """Shut the guest down."""
        with self._host.working_on(instance, "stop"):
            stop(self._host, self._host.get(instance))


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
        power_state=Power.SHUTDOWN,
        task_state=None,
        expected_task_state={Task.POWERING_OFF},
    )
