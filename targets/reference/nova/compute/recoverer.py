"""Bring instances out of the state in which a crash or a failure left them.

What is to be done is decided in :mod:`.recovery`; who can do it are the operations themselves.
"""

from __future__ import annotations

import logging

from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.compute import (
    building,
    devices,
    evacuating,
    power,
    rebuilding,
    shelving,
    snapshots,
    soft_delete,
)
from targets.reference.nova.compute.host import GoesOn, Host
from targets.reference.nova.compute.moving import Mover
from targets.reference.nova.compute.recovery import Recovery, decide
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import Power, Reboot, Vm

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


class Recoverer:
    """Looks at the instances of one host; ``recover`` is called over the bus too."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def recover(self, instance: str, attempt: int = 0) -> None:
        """Bring an instance out of the state in which a crash or a failure left it.

        After some attempts that failed it is set to ERROR; a delete and an offload are tried for
        ever.
        """
        host = self._host
        with host.locked(instance):
            try:
                found = Instance.get(host.cell, instance)
                if found and found.host == host.name:
                    recover(host, found, give_up=attempt >= LAST_ATTEMPT)
                elif found and building.is_to_be_built(host, found):
                    building.begin(host, found, give_up=attempt >= LAST_ATTEMPT)
                elif found and shelving.is_to_come(host, found):
                    shelving.unshelve(host, found)
                    InstanceAction.finish(host.cell, instance, "unshelve")
                elif found is None and Instance.is_deleted(host.cell, instance):
                    devices.remove_guest(host, instance)  # by who saw this host down
            except (GoesOn, InstanceNotFound, UnexpectedTaskState) as conflict:
                LOG.warning("recovery of %s stops: %s", instance, conflict)
            except Exception:
                LOG.exception("recovery of %s failed, attempt %d", instance, attempt)
                ComputeRpc.recover(instance, host.name, attempt + 1, retry_delay_s(attempt))

    def init_host(self) -> None:
        """Recover every instance of this host."""
        host = self._host
        for instance in Instance.find(host.cell, host=host.name, hidden=False):
            self.recover(instance.uuid)
        Mover(host).resume_moves()
        for unclaimed in Instance.find(host.cell, node=host.name, host=None, hidden=False):
            # The call to build it may be lost. The conductor knows whether it shall be built.
            if shelving.is_to_come(host, unclaimed):
                self.recover(unclaimed.uuid)
            else:
                ConductorRpc.build_instance(unclaimed.uuid, attempt=1)

    def remove_deleted_guests(self, attempt: int = 0) -> None:
        """Remove the guests whose instance was deleted while no compute was here to do it.

        For when this one can be seen to be up: before that more may be deleted so. It is tried
        until it is done.
        """
        host = self._host
        try:
            guests = host.driver.guests()
        except Exception:
            LOG.exception("the guests of %s are not known, attempt %d", host.name, attempt)
            return ComputeRpc.remove_deleted_guests(host.name, attempt + 1, retry_delay_s(attempt))
        for guest in guests:
            if Instance.is_deleted(host.cell, guest):
                LOG.warning("removing guest %s: its instance is deleted", guest)
                self.recover(guest)
        return None


def recover(host: Host, instance: Instance, give_up: bool) -> None:
    """Do what is decided for an instance; when that failed too often, set it to ERROR."""
    state = host.driver.power_state(instance.uuid)
    decision = decide(instance.task_state, instance.vm_state, state)
    LOG.info(
        "%s is %s, task %s: %s",
        instance.uuid, instance.vm_state, instance.task_state, decision.name,
    )  # fmt: skip
    if decision == Recovery.MOVE or evacuating.is_evacuated(instance):
        return None
    # What has begun to give things back can only go on.
    to_its_end = (Recovery.DELETE, Recovery.ABANDON_BUILD, Recovery.OFFLOAD)
    if give_up and decision not in to_its_end:
        record_fault(host.cell, instance.uuid, f"recovery failed: {decision.name}")
        instance.save(vm_state=Vm.ERROR, task_state=None, expected_task_state={instance.task_state})
        return InstanceAction.finish_all(host.cell, instance.uuid, "Error")
    if decision == Recovery.DELETE:
        return building.terminate(host, instance)
    if decision == Recovery.ABANDON_BUILD:
        building.abandon(host, instance, "the build was interrupted")
        return InstanceAction.finish_all(host.cell, instance.uuid, "Error")
    if decision == Recovery.ABANDON_REBUILD:
        return rebuilding.give_up(host, instance)
    _recover_guest(host, instance, decision)
    if decision in (Recovery.CLEAR_TASK, Recovery.DISCARD_SNAPSHOT):
        InstanceAction.finish_all(host.cell, instance.uuid, "Error")
        return recover(host, host.get(instance.uuid), give_up)
    if decision != Recovery.OFFLOAD:
        devices.finish(host, instance)
    return InstanceAction.finish_all(host.cell, instance.uuid, "Success")


def _recover_guest(host: Host, instance: Instance, decision: Recovery) -> None:
    match decision:
        case Recovery.REBOOT_SOFT:
            power.reboot(host, instance, Reboot.SOFT)
        case Recovery.REBOOT_HARD:
            power.reboot(host, power.become_hard(instance), Reboot.HARD)
        case Recovery.STOP:
            power.stop(host, instance)
        case Recovery.START:
            power.start(host, instance)
        case Recovery.PAUSE:
            power.pause(host, instance)
        case Recovery.UNPAUSE:
            power.unpause(host, instance)
        case Recovery.SHELVE:
            shelving.shelve(host, instance)
        case Recovery.OFFLOAD:
            shelving.offload(host, instance)
        case Recovery.UNSHELVE:
            shelving.unshelve(host, instance)
        case Recovery.SOFT_DELETE:
            soft_delete.soft_delete(host, instance)
        case Recovery.RESTORE:
            soft_delete.restore(host, instance)
        case Recovery.DISCARD_SNAPSHOT:
            snapshots.discard(instance)
        case Recovery.CLEAR_TASK:
            state = host.driver.power_state(instance.uuid)
            instance.save(
                task_state=None,
                power_state=state,
                vm_state=Vm.ACTIVE if state == Power.RUNNING else instance.vm_state,
                expected_task_state={instance.task_state},
            )
        case Recovery.RESUME_GUEST:
            host.driver.spawn(instance, devices.attached(instance))
            instance.save(power_state=Power.RUNNING, expected_task_state={None})
