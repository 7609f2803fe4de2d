"""Move servers to another host while their guests run, with the steps of Nova's live migration.

=============================  ===============  ====================================================
step                           of               what it does
=============================  ===============  ====================================================
``live_migration_claim``       the destination  claims the server: *queued*
``live_migration``             the source       sees that the guest is alive: *preparing*
``pre_live_migration``         the destination  connects volumes, defines the guest: *running*
``migrate_guest``              the source       has its hypervisor hand the guest over, forgets what
                                                it has, gives the record away: *completed*
``post_live_migration``        the destination  binds ports; the server is here
``rollback_at_destination``    the destination  forgets the guest, drops its claim: *failed*
``rollback_at_source``         the source       has volumes and allocations as before
=============================  ===============  ====================================================

A step that fails too often, before the record was given away, is *rolled back*: that is written
down first. The destination gives back its claim and ends the move by one statement, under its
semaphore, so that the periodic task finds neither without the other (LP#1879878).
"""

from __future__ import annotations

import logging

from targets.reference.client import Conflict
from targets.reference.database import utc_now
from targets.reference.nova import allocations, ports, volumes
from targets.reference.nova.action import ActionEvent, InstanceAction, record_fault
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import KINDS, MoveKind, Turn, take
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import IN_PROGRESS, Migration, MoveStatus, MoveType
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import Power, Task, Vm
from targets.reference.nova.usage import ComputeResourcesUnavailable

LOG = logging.getLogger(__name__)


def turn(host: str, migration: Migration, instance: Instance) -> Turn | None:
    """Return what ``host`` has to do for a live migration, None when it is another one's turn."""
    source, dest = host == migration.source_compute, host == migration.dest_compute
    status, task = migration.status, instance.task_state
    if status in IN_PROGRESS and task != Task.MIGRATING:
        return Turn.END if dest else None
    if task != Task.MIGRATING:
        return None
    if status in IN_PROGRESS and migration.rolling_back:
        return Turn.ROLLBACK_AT_DEST if dest else None
    match status:
        case MoveStatus.ACCEPTED:
            return Turn.LIVE_CLAIM if host == migration.dest_node else None
        case MoveStatus.QUEUED:
            return Turn.LIVE_BEGIN if source else None
        case MoveStatus.PREPARING:
            return Turn.PRE_LIVE if dest else None
        case MoveStatus.RUNNING:
            return Turn.LIVE_MIGRATE if source else None
        case MoveStatus.COMPLETED:
            return Turn.POST_LIVE if dest else None
        case MoveStatus.FAILED:
            return Turn.ROLLBACK_AT_SOURCE if source else None
    return None


class LiveMigrator:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def live_migration_claim(self, migration: str) -> None:
        """Claim a server that is to come here while it runs."""
        take(self._host, migration, Turn.LIVE_CLAIM)


def _claim(host: Host, migration: Migration, instance: Instance) -> None:
    ActionEvent.begin(host.cell, instance.uuid, "live-migration", host.name)
    try:
        host.tracker.live_migration_claim(instance, migration)
    except ComputeResourcesUnavailable as error:
        _refuse(host, migration, instance, str(error))
    else:
        ComputeRpc.resume_move(migration.source_compute, migration.uuid)


def _refuse(host: Host, migration: Migration, instance: Instance, why: str) -> None:
    LOG.warning("%s can not come: %s", instance.uuid, why)
    record_fault(host.cell, instance.uuid, why)
    migration.save({MoveStatus.ACCEPTED}, status=MoveStatus.FAILED)
    ComputeRpc.resume_move(migration.source_compute, migration.uuid)


def _refuse_at_last(host: Host, migration: Migration, instance: Instance) -> None:
    _refuse(host, migration, instance, f"{host.name} could not take the server")


def _begin(host: Host, migration: Migration, instance: Instance) -> None:
    if host.driver.power_state(instance.uuid) not in (Power.RUNNING, Power.PAUSED):
        record_fault(host.cell, instance.uuid, "the guest does not run")
        _roll_back(host, migration, instance)
        return
    migration.save({MoveStatus.QUEUED}, status=MoveStatus.PREPARING)
    ComputeRpc.resume_move(str(migration.dest_compute), migration.uuid)


def _pre_live_migration(host: Host, migration: Migration, instance: Instance) -> None:
    _connect(host, instance)
    migration.save({MoveStatus.PREPARING}, status=MoveStatus.RUNNING)
    ComputeRpc.resume_move(migration.source_compute, migration.uuid)


def _connect(host: Host, instance: Instance) -> None:
    """Make the guest known here, with its volumes; it is left as it is."""
    host.driver.define(instance)
    for device in _attached(instance):
        devices.connect(host, device)
        host.driver.attach_disk(instance.uuid, device.volume)


def _migrate(host: Host, migration: Migration, instance: Instance) -> None:
    assert migration.dest_compute
    power = Power.PAUSED if instance.vm_state == Vm.PAUSED else Power.RUNNING
    try:
        host.driver.live_migrate(instance.uuid, migration.dest_compute, power)
    except Conflict as refused:
        record_fault(host.cell, instance.uuid, str(refused))
        _roll_back(host, migration, instance)
        return
    devices.leave(host, instance)
    devices.remove_guest(host, instance.uuid)
    allocations.release(migration.uuid)
    host.tracker.drop_live_migration(instance, migration)
    ComputeRpc.resume_move(migration.dest_compute, migration.uuid)


def _post_live_migration(host: Host, migration: Migration, instance: Instance) -> None:
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, host.name)
    _connect(host, instance)
    for device in _attached(instance):
        devices.complete(device)
    instance.save(
        task_state=None,
        power_state=host.driver.power_state(instance.uuid),
        launched_at=utc_now(),
        expected_task_state={Task.MIGRATING},
        also=InstanceAction.ending(instance.uuid, "live-migration", "Success"),
    )
    devices.finish(host, host.get(instance.uuid))


def _roll_back(host: Host, migration: Migration, instance: Instance) -> None:
    """Write down that the server stays; its destination is the first to do something for it."""
    migration.save(IN_PROGRESS, rolling_back=True)
    ComputeRpc.resume_move(str(migration.dest_compute), migration.uuid)


def _roll_back_if_here(host: Host, migration: Migration, instance: Instance) -> None:
    """Leave a guest here that was not handed over; one that was can only be followed."""
    if host.driver.power_state(instance.uuid) in (Power.RUNNING, Power.PAUSED):
        _roll_back(host, migration, instance)
    else:
        _migrate(host, migration, instance)


def _rollback_at_dest(host: Host, migration: Migration, instance: Instance) -> None:
    devices.leave(host, instance)
    devices.remove_guest(host, instance.uuid)
    _drop_claim(host, migration)
    ComputeRpc.resume_move(migration.source_compute, migration.uuid)


def _drop_claim(host: Host, migration: Migration) -> None:
    host.tracker.drop_move_claim_at_rollback(migration)


def _rollback_at_source(host: Host, migration: Migration, instance: Instance) -> None:
    allocations.give_back(migration.uuid, instance.uuid)
    for device in _attached(instance):
        volumes.connect_attachment(device.attachment, host.name, device.device)
        devices.complete(device)
    _have_alive(host, instance)
    instance.save(
        task_state=None,
        power_state=host.driver.power_state(instance.uuid),
        expected_task_state={Task.MIGRATING},
        also=InstanceAction.ending(instance.uuid, "live-migration", "Error"),
    )
    devices.finish(host, host.get(instance.uuid))


def _have_alive(host: Host, instance: Instance) -> None:
    """See that a guest runs, or is paused, which its hypervisor was about to hand over."""
    if host.driver.power_state(instance.uuid) not in (Power.RUNNING, Power.PAUSED):
        host.driver.start(instance.uuid)
        if instance.vm_state == Vm.PAUSED:
            host.driver.pause(instance.uuid)


def _end(host: Host, migration: Migration, instance: Instance) -> None:
    devices.leave(host, instance)
    devices.remove_guest(host, instance.uuid)
    host.tracker.end_move(migration, MoveStatus.FAILED)
    if instance.task_state == Task.DELETING:
        ComputeRpc.terminate(instance)


def _attached(instance: Instance) -> list[BlockDevice]:
    return BlockDevice.find(instance.cell, instance=instance.uuid, state=DeviceState.ATTACHED)


STEPS = {
    Turn.LIVE_CLAIM: _claim,
    Turn.LIVE_BEGIN: _begin,
    Turn.PRE_LIVE: _pre_live_migration,
    Turn.LIVE_MIGRATE: _migrate,
    Turn.POST_LIVE: _post_live_migration,
    Turn.ROLLBACK_AT_DEST: _rollback_at_dest,
    Turn.ROLLBACK_AT_SOURCE: _rollback_at_source,
    Turn.END: _end,
}
GIVE_UP = {
    Turn.LIVE_CLAIM: _refuse_at_last,
    Turn.LIVE_BEGIN: _roll_back,
    Turn.PRE_LIVE: _roll_back,
    Turn.LIVE_MIGRATE: _roll_back_if_here,
}
KINDS[MoveType.LIVE_MIGRATION] = MoveKind(turn, STEPS, GIVE_UP)
