"""Move servers to another host or flavor, with the same steps as Nova's cold migration.

========================  ===============  =========================================================
step                      of               what it does
========================  ===============  =========================================================
``prep_resize``           the destination  claims the new flavor
``resize_instance``       the source       shuts the guest down, hands the record over
``finish_resize``         the destination  makes the guest; from now on the user may decide
``confirm_resize``        the source       forgets its guest and gives the old flavor back
``revert_resize``         the destination  forgets its guest, hands the record back
``finish_revert_resize``  the source       starts its guest again
``end_move``              the other host   forgets what it has of a server that is being deleted, or
                                           whose move was given up
========================  ===============  =========================================================

Each step ends with one transaction that changes instance and migration together; whose turn it is
then, :func:`turn` reads from these two records alone. The casts between the hosts only say "look":
whoever looks too late, twice, or after a restart finds the same answer, and each part of a step can
be done again. A delete marks the instance, which ends every step at its last statement; the host
that has the instance lets the other one clean up before it removes the record.
"""

from __future__ import annotations

import logging

from targets.reference.client import NotFound
from targets.reference.database import utc_now
from targets.reference.nova import allocations, ports
from targets.reference.nova.action import ActionEvent, InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import KINDS, MoveKind, Step, Turn, take
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import (
    IN_PROGRESS,
    Migration,
    MoveStatus,
    MoveType,
    becoming,
)
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import MOVE_TASKS, Power, Task, Vm
from targets.reference.nova.usage import ComputeResourcesUnavailable, together

LOG = logging.getLogger(__name__)


def turn(host: str, migration: Migration, instance: Instance) -> Turn | None:
    """Return what ``host`` has to do for a move, None when it is somebody else's turn."""
    source, dest = host == migration.source_compute, host == migration.dest_compute
    status, task = migration.status, instance.task_state
    given_up = status != MoveStatus.FINISHED and task not in MOVE_TASKS
    if status in IN_PROGRESS and (task == Task.DELETING or given_up):
        elsewhere = host != instance.host or (source and dest and task != Task.DELETING)
        return Turn.END if (source or dest) and elsewhere else None
    match task, status:
        case Task.RESIZE_PREP, MoveStatus.PRE_MIGRATING if migration.dest_compute:
            return Turn.MIGRATE if source else None
        case Task.RESIZE_PREP, MoveStatus.PRE_MIGRATING:
            return Turn.PREP if host == migration.dest_node else None
        case Task.RESIZE_MIGRATING, MoveStatus.MIGRATING:
            return Turn.MIGRATE if source else None
        case ((Task.RESIZE_MIGRATED | Task.RESIZE_FINISH), MoveStatus.POST_MIGRATING):
            return Turn.FINISH if dest else None
        case Task.RESIZE_CONFIRMING, (MoveStatus.CONFIRMING | MoveStatus.CONFIRMED):
            return Turn.CONFIRM if source else None
        case Task.RESIZE_REVERTING, MoveStatus.REVERTING:
            return Turn.REVERT if dest else None
        case Task.RESIZE_REVERTING, MoveStatus.REVERTED:
            return Turn.FINISH_REVERT if source else None
    return None


class Resizer:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def prep_resize(self, migration: str) -> None:
        """Claim the new flavor here."""
        take(self._host, migration, Turn.PREP)

    def resize_instance(self, migration: str) -> None:
        """Shut the guest down, and hand the instance to its new host."""
        take(self._host, migration, Turn.MIGRATE)

    def finish_resize(self, migration: str) -> None:
        """Make the guest on its new host."""
        take(self._host, migration, Turn.FINISH)

    def confirm_resize(self, migration: str) -> None:
        """Give back what the instance had here before it moved."""
        take(self._host, migration, Turn.CONFIRM)

    def revert_resize(self, migration: str) -> None:
        """Give back what the instance has here, and the instance to the host that it came from."""
        take(self._host, migration, Turn.REVERT)

    def finish_revert_resize(self, migration: str) -> None:
        """Make the guest run again where it was."""
        take(self._host, migration, Turn.FINISH_REVERT)


def _prep(host: Host, migration: Migration, instance: Instance) -> None:
    try:
        host.tracker.resize_claim(instance, migration)
    except ComputeResourcesUnavailable as error:
        LOG.warning("%s can not come: %s", instance.uuid, error)
        _refuse(host, migration, instance)
    else:
        ComputeRpc.resize_instance(migration.source_compute, migration.uuid)


def _refuse(host: Host, migration: Migration, instance: Instance) -> None:
    migration.save({MoveStatus.PRE_MIGRATING}, dest_node=None, dest_cell=None)
    ConductorRpc.migrate_server(migration.cell, migration.uuid)
    # Nothing but words after this: another host may have it by now (LP#1741125).
    record_fault(host.cell, instance.uuid, f"{host.name} could not take the server")


def _migrate(host: Host, migration: Migration, instance: Instance) -> None:
    action = migration.migration_type.action
    ActionEvent.begin(host.cell, instance.uuid, action, host.name)
    if instance.task_state == Task.RESIZE_PREP:
        instance = instance.save(
            task_state=Task.RESIZE_MIGRATING,
            expected_task_state={Task.RESIZE_PREP},
            also=migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.MIGRATING),
        )
    shut_down(host, instance)
    devices.leave(host, instance)
    instance.save(
        task_state=Task.RESIZE_MIGRATED,
        power_state=Power.SHUTDOWN,
        host=migration.dest_compute,
        node=migration.dest_compute,
        expected_task_state={Task.RESIZE_MIGRATING},
        also=together(
            migration.changing({MoveStatus.MIGRATING}, status=MoveStatus.POST_MIGRATING),
            becoming(instance.uuid, migration.new_flavor),
        ),
    )
    assert migration.dest_compute
    ComputeRpc.finish_resize(migration.dest_compute, migration.uuid)


def shut_down(host: Host, instance: Instance) -> None:
    """Shut a guest down, by its plug if need be; one that is not there is no error."""
    try:
        if not host.driver.shutdown(instance.uuid):
            host.driver.power_off(instance.uuid)
    except NotFound:
        LOG.warning("there is no guest of %s to shut down", instance.uuid)


def _finish(host: Host, migration: Migration, instance: Instance) -> None:
    if instance.task_state == Task.RESIZE_MIGRATED:
        instance = instance.save(
            task_state=Task.RESIZE_FINISH, expected_task_state={Task.RESIZE_MIGRATED}
        )
    power = arrive(host, migration, instance)
    instance.save(
        vm_state=Vm.RESIZED,
        power_state=power,
        task_state=None,
        launched_at=utc_now(),
        expected_task_state={Task.RESIZE_FINISH},
        also=together(
            migration.changing({MoveStatus.POST_MIGRATING}, status=MoveStatus.FINISHED),
            InstanceAction.ending(instance.uuid, migration.migration_type.action, "Success"),
        ),
    )


def arrive(host: Host, migration: Migration, instance: Instance, image: str = "") -> Power:
    """Connect ports and volumes to this host, and make the guest as it was; return its power.

    Where there is none yet, it is made from ``image``, by default the instance's own.
    """
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, host.name)
    attached = BlockDevice.find(host.cell, instance=instance.uuid, state=DeviceState.ATTACHED)
    for device in attached:
        devices.connect(host, device)
    if migration.old_vm_state == Vm.ACTIVE:
        host.driver.spawn(instance, [device.volume for device in attached], image)
    else:
        host.driver.define(instance, image)
        for device in attached:
            host.driver.attach_disk(instance.uuid, device.volume)
    for device in attached:
        devices.complete(device)
    return Power.RUNNING if migration.old_vm_state == Vm.ACTIVE else Power.SHUTDOWN


def _confirm(host: Host, migration: Migration, instance: Instance) -> None:
    ActionEvent.begin(host.cell, instance.uuid, "confirmResize", host.name)
    if instance.host != host.name:
        devices.remove_guest(host, instance.uuid)
    if migration.status == MoveStatus.CONFIRMING:
        host.tracker.drop_move_claim_at_source(instance, migration)
    allocations.release(migration.uuid)
    instance.save(
        vm_state=migration.old_vm_state,
        task_state=None,
        expected_task_state={Task.RESIZE_CONFIRMING},
        also=InstanceAction.ending(instance.uuid, "confirmResize", "Success"),
    )


def _revert(host: Host, migration: Migration, instance: Instance) -> None:
    ActionEvent.begin(host.cell, instance.uuid, "revertResize", host.name)
    if migration.source_compute != host.name:
        devices.leave(host, instance)
        devices.remove_guest(host, instance.uuid)
    host.tracker.drop_move_claim_at_dest(instance, migration)
    ComputeRpc.finish_revert_resize(migration.source_compute, migration.uuid)


def _finish_revert(host: Host, migration: Migration, instance: Instance) -> None:
    allocations.give_back(migration.uuid, instance.uuid)
    power = arrive(host, migration, instance)
    instance.save(
        vm_state=migration.old_vm_state,
        power_state=power,
        task_state=None,
        expected_task_state={Task.RESIZE_REVERTING},
        also=InstanceAction.ending(instance.uuid, "revertResize", "Success"),
    )


def _end(host: Host, migration: Migration, instance: Instance) -> None:
    if instance.host != host.name:
        devices.leave(host, instance)
        devices.remove_guest(host, instance.uuid)
    if host.name == migration.source_compute:
        allocations.release(migration.uuid)
    moved = migration.status in (MoveStatus.FINISHED, MoveStatus.CONFIRMING)
    host.tracker.end_move(migration, MoveStatus.CONFIRMED if moved else MoveStatus.ERROR)
    if instance.task_state == Task.DELETING:
        ComputeRpc.terminate(instance)


def _stay(host: Host, migration: Migration, instance: Instance) -> None:
    """Give a move up before the record was handed over: the instance is in ERROR at its source."""
    allocations.give_back(migration.uuid, instance.uuid)
    _fail(migration, instance)
    assert migration.dest_compute
    ComputeRpc.end_move(migration.dest_compute, migration.uuid)


def _stay_moved(host: Host, migration: Migration, instance: Instance) -> None:
    """Give a move up after that: the instance is in ERROR at its destination (LP#1825537)."""
    _fail(migration, instance)
    ComputeRpc.end_move(migration.source_compute, migration.uuid)


def _stay_back(host: Host, migration: Migration, instance: Instance) -> None:
    """Give a revert up whose destination has forgotten the instance: it is in ERROR at home."""
    allocations.give_back(migration.uuid, instance.uuid)
    _fail(migration, instance)


def _fail(migration: Migration, instance: Instance) -> None:
    """Leave an instance in ERROR where it is; the move is over for it."""
    instance.save(
        vm_state=Vm.ERROR,
        task_state=None,
        expected_task_state={instance.task_state},
        also=InstanceAction.finishing_all(instance.uuid, "Error"),
    )


STEPS: dict[Turn, Step] = {
    Turn.PREP: _prep,
    Turn.MIGRATE: _migrate,
    Turn.FINISH: _finish,
    Turn.CONFIRM: _confirm,
    Turn.REVERT: _revert,
    Turn.FINISH_REVERT: _finish_revert,
    Turn.END: _end,
}
GIVE_UP: dict[Turn, Step] = {
    Turn.PREP: _refuse,
    Turn.MIGRATE: _stay,
    Turn.FINISH: _stay_moved,
    Turn.REVERT: _stay_moved,
    Turn.FINISH_REVERT: _stay_back,
}
"""What is done when a step has failed too often; the others are tried for ever."""

KINDS |= dict.fromkeys((MoveType.RESIZE, MoveType.MIGRATION), MoveKind(turn, STEPS, GIVE_UP))
