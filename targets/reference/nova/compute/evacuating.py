"""Make servers anew on another host, when their own is down; with the steps of Nova's evacuation.

=====================  ===============  ============================================================
step                   of               what it does
=====================  ===============  ============================================================
``rebuild_evacuated``  the destination  claims the server, which is *pre-migrating* then; makes its
                                        guest, from its image and with its volumes, as hosts share
                                        no storage; has it: *done*
``fence``              the source,      pulls the plug of a guest that is being made elsewhere
                       when it starts
``forget_evacuated``   the source,      destroys its guest, gives its resources back: *completed*
                       when it is back
=====================  ===============  ============================================================

The record stays the source's until the destination has made the guest: by one statement, together
with the end of the move, under the semaphore of the destination. What fails leaves the server in
ERROR at its source, and *failed*; one that was merely refused is there as it was.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from targets.reference.client import NotFound
from targets.reference.database import utc_now
from targets.reference.nova import allocations, ports, services, volumes
from targets.reference.nova.action import ActionEvent, InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import KINDS, MoveKind, Turn, take
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration, MoveStatus, MoveType
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import REBUILD_TASKS, Power, Task, Vm
from targets.reference.nova.usage import ComputeResourcesUnavailable, together

LOG = logging.getLogger(__name__)


def turn(host: str, migration: Migration, instance: Instance) -> Turn | None:
    """Return what ``host`` has to do for an evacuation, None when it is somebody else's turn."""
    source, dest = host == migration.source_compute, host == migration.dest_compute
    match migration.status, instance.task_state:
        case MoveStatus.DONE, _:
            return Turn.FORGET if source else None
        case MoveStatus.ACCEPTED, Task.REBUILDING if host == migration.dest_node:
            return Turn.REBUILD_CLAIM
        case MoveStatus.PRE_MIGRATING, (
            Task.REBUILD_BLOCK_DEVICE_MAPPING | Task.REBUILD_SPAWNING
        ) if dest:
            return Turn.REBUILD
        case ((MoveStatus.ACCEPTED | MoveStatus.PRE_MIGRATING), task) if task in REBUILD_TASKS:
            return Turn.FENCE if source else None
        case ((MoveStatus.ACCEPTED | MoveStatus.PRE_MIGRATING), _):
            return Turn.END if dest else None
    return None


def is_evacuated(instance: Instance) -> bool:
    """Whether somebody else is to make an instance anew."""
    if instance.task_state not in REBUILD_TASKS:
        return False
    move = Migration.of_instance(instance.cell, instance.uuid)
    return move is not None and move.migration_type == MoveType.EVACUATION


class Evacuator:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def rebuild_evacuated(self, migration: str) -> None:
        """Make an instance here whose own host is down."""
        take(self._host, migration, Turn.REBUILD_CLAIM)

    def forget_evacuated(self) -> None:
        """Forget what was evacuated while no compute was here to do it.

        For when this one can be seen to be up: before that more may be evacuated so.
        """
        gone = {"source_compute": self._host.name, "status": MoveStatus.DONE}
        for migration in Migration.find(self._host.cell, **gone):
            take(self._host, migration.uuid, Turn.FORGET)


def _rebuild_claim(host: Host, migration: Migration, instance: Instance) -> None:
    ActionEvent.begin(host.cell, instance.uuid, "evacuate", host.name)
    try:
        claimed = host.tracker.rebuild_claim(instance, migration)
    except ComputeResourcesUnavailable as error:
        _refuse(host, migration, instance, str(error))
    else:
        found = Migration.get(host.cell, migration.uuid)
        assert found
        _rebuild(host, found, claimed)


def _refuse(host: Host, migration: Migration, instance: Instance, why: str) -> None:
    """Leave an instance where and what it is; its host makes its guest run again."""
    LOG.warning("%s can not come: %s", instance.uuid, why)
    allocations.keep_only(instance.uuid, migration.source_compute)
    record_fault(host.cell, instance.uuid, why)
    instance.save(
        task_state=None,
        expected_task_state={Task.REBUILDING},
        also=together(
            migration.changing({MoveStatus.ACCEPTED}, status=MoveStatus.FAILED),
            InstanceAction.ending(instance.uuid, "evacuate", "Error"),
        ),
    )
    ComputeRpc.recover(instance.uuid, migration.source_compute, 0, 0.0)


def _refuse_at_last(host: Host, migration: Migration, instance: Instance) -> None:
    _refuse(host, migration, instance, f"{host.name} could not take the server")


def _rebuild(host: Host, migration: Migration, instance: Instance) -> None:
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, host.name)
    kept = _attached(instance)
    for device in kept:
        devices.connect(host, device)
    if instance.task_state != Task.REBUILD_SPAWNING:
        instance = instance.save(
            task_state=Task.REBUILD_SPAWNING,
            expected_task_state={Task.REBUILD_BLOCK_DEVICE_MAPPING},
        )
    host.driver.define(instance)
    for device in kept:
        host.driver.attach_disk(instance.uuid, device.volume)
    if migration.old_vm_state == Vm.ACTIVE:
        host.driver.start(instance.uuid)
    for device in kept:
        devices.complete(device)
    _finish(host, migration, instance)
    if services.is_listening(migration.source_compute):
        # It is not as dead as it was said to be, or back by now.
        ComputeRpc.resume_move(migration.source_compute, migration.uuid)
    devices.finish(host, host.get(instance.uuid))


def _attached(instance: Instance) -> list[BlockDevice]:
    return BlockDevice.find(instance.cell, instance=instance.uuid, state=DeviceState.ATTACHED)


def _finish(host: Host, migration: Migration, instance: Instance) -> None:
    running = migration.old_vm_state == Vm.ACTIVE
    host.tracker.finish_evacuation(
        instance,
        migration,
        InstanceAction.ending(instance.uuid, "evacuate", "Success"),
        vm_state=migration.old_vm_state,
        power_state=Power.RUNNING if running else Power.SHUTDOWN,
        launched_at=utc_now(),
    )


def _fail(host: Host, migration: Migration, instance: Instance) -> None:
    """Leave an instance in ERROR at its source, with all that it had there."""
    devices.leave(host, instance)
    host.driver.destroy(instance.uuid)
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, migration.source_compute)
    for device in _attached(instance):
        volumes.connect_attachment(device.attachment, migration.source_compute, device.device)
        devices.complete(device)
    allocations.keep_only(instance.uuid, migration.source_compute)
    over = InstanceAction.ending(instance.uuid, "evacuate", "Error")
    host.tracker.fail_evacuation(instance, migration, over)


def _fence(host: Host, migration: Migration, instance: Instance) -> None:
    with suppress(NotFound):
        host.driver.power_off(instance.uuid)


def _forget(host: Host, migration: Migration, instance: Instance) -> None:
    LOG.info("%s was evacuated from here", instance.uuid)
    move = Migration.of_instance(host.cell, instance.uuid)
    if instance.host != host.name:
        devices.remove_guest(host, instance.uuid)
        if move is None or host.name not in (move.dest_node, move.dest_compute):
            allocations.drop(instance.uuid, host.name)
    migration.forget_source()


def _end(host: Host, migration: Migration, instance: Instance) -> None:
    devices.leave(host, instance)
    devices.remove_guest(host, instance.uuid)
    host.tracker.end_move(migration, MoveStatus.FAILED)
    if instance.task_state == Task.DELETING:
        ComputeRpc.terminate(instance)


STEPS = {
    Turn.REBUILD_CLAIM: _rebuild_claim,
    Turn.REBUILD: _rebuild,
    Turn.FENCE: _fence,
    Turn.FORGET: _forget,
    Turn.END: _end,
}
GIVE_UP = {Turn.REBUILD_CLAIM: _refuse_at_last, Turn.REBUILD: _fail}
KINDS[MoveType.EVACUATION] = MoveKind(turn, STEPS, GIVE_UP)
