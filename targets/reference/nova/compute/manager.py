"""The compute's methods, each under the lock of its instance.

A failure is handled like a crash: the instance is looked at again a little later, by the same
:meth:`Compute.recover` that looks at every instance when the compute starts. A *conflict* (the
record is deleted, or its task state is somebody else's) is no failure: that other one, who waits
for the lock or has its message in the queue, does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from targets.reference.client import BadRequest, NotFound
from targets.reference.database import utc_now
from targets.reference.nova import allocations, deletion, ports, volumes
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute.driver import Driver
from targets.reference.nova.compute.recovery import Recovery, decide
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.locks import Locks
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import (
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Reboot,
    Task,
    Vm,
)

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


class Compute:
    """Serves one host; its public methods are called over the bus."""

    def __init__(self, cell: str, host: str, driver: Driver, tracker: ResourceTracker) -> None:
        self._cell = cell
        self._host = host
        self._driver = driver
        self._tracker = tracker
        self._locks = Locks()

    def build(self, instance: str) -> None:
        """Make ports, volumes and the guest of an instance that nobody has claimed yet."""
        with self._working_on(instance, "create"):
            claimed = self._tracker.claim(instance)
            if claimed is None:
                LOG.info("%s is not to be built any more", instance)
                return
            self._build(claimed)

    def terminate(self, instance: str) -> None:
        """Remove an instance and everything that hangs on it, the record last."""
        with self._working_on(instance, "delete"):
            found = Instance.get(self._cell, instance)
            if found:
                self._terminate(found)

    def reboot(self, instance: str, kind: str) -> None:
        """Reboot the guest, SOFT or HARD."""
        with self._working_on(instance, "reboot"):
            self._reboot(self._get(instance), Reboot(kind))

    def start(self, instance: str) -> None:
        """Start the guest of a stopped instance."""
        with self._working_on(instance, "start"):
            self._start(self._get(instance))

    def stop(self, instance: str) -> None:
        """Shut the guest down."""
        with self._working_on(instance, "stop"):
            self._stop(self._get(instance))

    def attach_volume(self, instance: str, device: str) -> None:
        """Connect a block device that the API has written down."""
        with self._working_on(instance, "attach_volume"):
            found = BlockDevice.get(self._cell, device)
            if found and found.state == DeviceState.ATTACHING:
                self._attach_or_forget(self._get(instance), found)

    def detach_volume(self, instance: str, device: str) -> None:
        """Disconnect a block device, and give its volume back."""
        with self._working_on(instance, "detach_volume"):
            found = BlockDevice.get(self._cell, device)
            if found:
                self._detach(found)

    def recover(self, instance: str, attempt: int = 0) -> None:
        """Bring an instance out of the state in which a crash or a failure left it.

        After some attempts that failed it is set to ERROR; a delete is tried for ever.
        """
        with self._locks(instance):
            try:
                found = Instance.get(self._cell, instance)
                if found and found.host == self._host:
                    self._recover_instance(found, give_up=attempt >= LAST_ATTEMPT)
            except (InstanceNotFound, UnexpectedTaskState) as conflict:
                LOG.warning("recovery of %s stops: %s", instance, conflict)
            except Exception:
                LOG.exception("recovery of %s failed, attempt %d", instance, attempt)
                ComputeRpc.recover(instance, self._host, attempt + 1, retry_delay_s(attempt))

    def init_host(self) -> None:
        """Recover every instance of this host, and remove guests whose instance was deleted."""
        for instance in Instance.find(self._cell, host=self._host):
            self.recover(instance.uuid)
        for unclaimed in Instance.find(self._cell, node=self._host, host=None):
            # The call to build it may be lost. The conductor knows whether it shall be built.
            ConductorRpc.build_instance(unclaimed.uuid, attempt=1)
        for guest in self._driver.guests():
            if Instance.is_deleted(self._cell, guest):
                LOG.warning("removing guest %s: its instance is deleted", guest)
                self._driver.destroy(guest)

    @contextmanager
    def _working_on(self, instance: str, action: str) -> Iterator[None]:
        with self._locks(instance):
            try:
                yield
            except (InstanceNotFound, UnexpectedTaskState) as conflict:
                LOG.info("%s of %s stops: %s", action, instance, conflict)
                InstanceAction.finish(self._cell, instance, action, "Error")
            except Exception as error:
                LOG.exception("%s of %s failed", action, instance)
                record_fault(self._cell, instance, f"{action}: {error}")
                ComputeRpc.recover(instance, self._host, 0, retry_delay_s(0))
            else:
                InstanceAction.finish(self._cell, instance, action)

    def _get(self, instance: str) -> Instance:
        found = Instance.get(self._cell, instance)
        if found is None:
            raise InstanceNotFound(f"instance {instance} is deleted")
        return found

    def _build(self, instance: Instance) -> None:
        made = [
            ports.bind(port, instance.uuid, self._host)
            if port
            else ports.create(instance.uuid, self._host)
            for port in instance.requested_networks
        ]
        instance = instance.save(
            ports=made,
            task_state=Task.BLOCK_DEVICE_MAPPING,
            expected_task_state={Task.NETWORKING},
        )
        devices = BlockDevice.find(self._cell, instance=instance.uuid)
        for device in devices:
            volumes.connect_attachment(device.attachment, self._host, device.device)
        instance = instance.save(
            task_state=Task.SPAWNING, expected_task_state={Task.BLOCK_DEVICE_MAPPING}
        )
        self._driver.spawn(instance, [device.volume for device in devices])
        for device in devices:
            self._complete(device)
        instance.save(
            vm_state=Vm.ACTIVE,
            power_state=Power.RUNNING,
            task_state=None,
            launched_at=utc_now(),
            expected_task_state={Task.SPAWNING},
        )

    def _abandon_build(self, instance: Instance, why: str) -> None:
        LOG.warning("build of %s is given up: %s", instance.uuid, why)
        self._driver.destroy(instance.uuid)
        ports.release(instance.uuid, instance.requested_networks)
        for device in BlockDevice.find(self._cell, instance=instance.uuid):
            volumes.delete_attachment(device.attachment)
            device.destroy()
        allocations.release(instance.uuid)
        record_fault(self._cell, instance.uuid, why)
        self._tracker.disown(
            instance, vm_state=Vm.ERROR, task_state=None, power_state=Power.NOSTATE, ports=[]
        )

    def _terminate(self, instance: Instance) -> None:
        self._driver.destroy(instance.uuid)
        ports.release(instance.uuid, instance.requested_networks)
        for device in self._devices_to_release(instance):
            deletion.release_volume(device)
        allocations.release(instance.uuid)
        InstanceAction.finish_all(self._cell, instance.uuid, "Success")
        self._tracker.destroy(instance)

    def _devices_to_release(self, instance: Instance) -> list[BlockDevice]:
        # Read now, under the lock: a detach that was at it before is finished (LP#2067869).
        return BlockDevice.find(self._cell, instance=instance.uuid)

    def _reboot(self, instance: Instance, kind: Reboot) -> None:
        soft = kind == Reboot.SOFT
        family = SOFT_REBOOT_TASKS if soft else HARD_REBOOT_TASKS
        pending = Task.REBOOT_PENDING if soft else Task.REBOOT_PENDING_HARD
        started = Task.REBOOT_STARTED if soft else Task.REBOOT_STARTED_HARD
        power = self._driver.power_state(instance.uuid)
        instance = instance.save(task_state=pending, power_state=power, expected_task_state=family)
        instance = instance.save(task_state=started, expected_task_state={pending})
        self._driver.reboot(instance, self._attached(instance), kind)
        instance.save(
            vm_state=Vm.ACTIVE,
            power_state=self._driver.power_state(instance.uuid),
            task_state=None,
            expected_task_state={started},
        )

    def _start(self, instance: Instance) -> None:
        self._driver.spawn(instance, self._attached(instance))
        instance.save(
            vm_state=Vm.ACTIVE,
            power_state=Power.RUNNING,
            task_state=None,
            expected_task_state={Task.POWERING_ON},
        )

    def _stop(self, instance: Instance) -> None:
        if not self._driver.shutdown(instance.uuid):
            self._driver.power_off(instance.uuid)
        instance.save(
            vm_state=Vm.STOPPED,
            power_state=Power.SHUTDOWN,
            task_state=None,
            expected_task_state={Task.POWERING_OFF},
        )

    def _attach_or_forget(self, instance: Instance, device: BlockDevice) -> None:
        try:
            self._attach(instance, device)
        except (BadRequest, NotFound) as error:
            LOG.warning("volume %s can not be attached: %s", device.volume, error)
            record_fault(self._cell, instance.uuid, f"attach_volume: {error}")
            self._detach(device)

    def _attach(self, instance: Instance, device: BlockDevice) -> None:
        attachment = volumes.create_attachment(instance.uuid, device.volume)
        reserved = device.save(attachment=attachment)
        if reserved is None:
            raise InstanceNotFound(f"block device {device.id} is gone")
        volumes.connect_attachment(attachment, self._host, device.device)
        self._driver.attach_disk(instance.uuid, device.volume)
        self._complete(reserved)

    def _complete(self, device: BlockDevice) -> None:
        volumes.complete_attachment(device.attachment)
        device.save(state=DeviceState.ATTACHED)

    def _detach(self, device: BlockDevice) -> None:
        self._driver.detach_disk(device.instance, device.volume)
        deletion.give_back(device)
        device.destroy()

    def _attached(self, instance: Instance) -> list[str]:
        found = BlockDevice.find(self._cell, instance=instance.uuid, state=DeviceState.ATTACHED)
        return [device.volume for device in found]

    def _recover_instance(self, instance: Instance, give_up: bool) -> None:
        decision = decide(
            instance.task_state, instance.vm_state, self._driver.power_state(instance.uuid)
        )
        LOG.info(
            "%s is %s, task %s: %s",
            instance.uuid, instance.vm_state, instance.task_state, decision.name,
        )  # fmt: skip
        if give_up and decision not in (Recovery.DELETE, Recovery.ABANDON_BUILD):
            record_fault(self._cell, instance.uuid, f"recovery failed: {decision.name}")
            instance.save(
                vm_state=Vm.ERROR, task_state=None, expected_task_state={instance.task_state}
            )
            return InstanceAction.finish_all(self._cell, instance.uuid, "Error")
        if decision == Recovery.DELETE:
            return self._terminate(instance)
        if decision == Recovery.ABANDON_BUILD:
            self._abandon_build(instance, "the build was interrupted")
            return InstanceAction.finish_all(self._cell, instance.uuid, "Error")
        self._recover_guest(instance, decision)
        for device in BlockDevice.find(self._cell, instance=instance.uuid):
            if device.state == DeviceState.ATTACHING:
                self._attach_or_forget(instance, device)
            elif device.state == DeviceState.DETACHING:
                self._detach(device)
        dropped = decision == Recovery.CLEAR_TASK
        return InstanceAction.finish_all(
            self._cell, instance.uuid, "Error" if dropped else "Success"
        )

    def _recover_guest(self, instance: Instance, decision: Recovery) -> None:
        match decision:
            case Recovery.REBOOT_SOFT:
                self._reboot(instance, Reboot.SOFT)
            case Recovery.REBOOT_HARD:
                self._reboot(self._become_hard(instance), Reboot.HARD)
            case Recovery.STOP:
                self._stop(instance)
            case Recovery.START:
                self._start(instance)
            case Recovery.CLEAR_TASK:
                power = self._driver.power_state(instance.uuid)
                instance.save(
                    task_state=None,
                    power_state=power,
                    vm_state=Vm.ACTIVE if power == Power.RUNNING else instance.vm_state,
                    expected_task_state={instance.task_state},
                )
            case Recovery.RESUME_GUEST:
                self._driver.spawn(instance, self._attached(instance))
                instance.save(power_state=Power.RUNNING, expected_task_state={None})

    def _become_hard(self, instance: Instance) -> Instance:
        """Make a soft reboot a hard one, whose saves expect the hard states (LP#1072751)."""
        if instance.task_state not in SOFT_REBOOT_TASKS:
            return instance
        return instance.save(
            task_state=Task.REBOOT_PENDING_HARD, expected_task_state=SOFT_REBOOT_TASKS
        )
