"""Conductor: finds a host for a server that leaves its own as it is, and claims it in placement.

An *evacuated* server holds both hosts itself until the old one has forgotten it. Of one that is
*live-migrated* the migration holds the old place. Which host is next is decided by one conditional
statement before anything is claimed there, so that of two conductors both claim the same one. Who
finds the move ended after he has claimed something gives it back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from targets.reference.nova import allocations, databases, services
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.migration import Migration, MoveConflict, MoveStatus, MoveType
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, retry_delay_s
from targets.reference.nova.states import Task, Vm
from targets.reference.nova.usage import together

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs: the task, how a host is claimed, given back and told; what refused ones are."""

    task: Task
    claim: Callable[[Migration, Instance, str], bool]
    give_back: Callable[[Migration, Instance], None]
    tell: Callable[[str, str], None]
    again: Callable[[str, str, int, float], None]
    refused: Callable[[Instance], Vm]


def run(cell: str, uuid: str, attempt: int = 0) -> None:
    """Bring a move as far as its destination's claim; after some attempts, give it up."""
    migration = Migration.get(cell, uuid)
    if migration is None:
        return
    kind = _KINDS[migration.migration_type]
    try:
        instance = Instance.get(cell, migration.instance)
        if instance is None or not _is_wanted(migration, instance):
            _clear_up(migration, instance)
        elif attempt >= LAST_ATTEMPT:
            _refuse(migration, instance, "The move failed too often.")
        elif migration.dest_node:
            _claim(migration, instance, migration.dest_node)
        else:
            _choose(migration, instance)
    except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
        LOG.info("move %s: %s", uuid, conflict)
        kind.again(cell, uuid, 0, 0.0)  # look what it is now
    except Exception:
        LOG.exception("move %s failed, attempt %d", uuid, attempt)
        kind.again(cell, uuid, attempt + 1, retry_delay_s(attempt))


def resume() -> None:
    """Take up every such move that no host has begun with."""
    for cell in databases.cells()[1:]:
        for migration in Migration.find(cell, status=MoveStatus.ACCEPTED):
            send(migration, attempt=1)


def send(migration: Migration, attempt: int = 0) -> None:
    """Have a host found for a move, by whichever conductor."""
    _KINDS[migration.migration_type].again(migration.cell, migration.uuid, attempt, 0.0)


def _is_wanted(migration: Migration, instance: Instance) -> bool:
    task = _KINDS[migration.migration_type].task
    return migration.status == MoveStatus.ACCEPTED and instance.task_state == task


def _choose(migration: Migration, instance: Instance) -> None:
    hosts = SchedulerRpc.select_hosts(RequestSpec.of_move(instance, migration, anywhere=False))
    elsewhere = [host for host in hosts if host != migration.source_compute]
    if elsewhere:
        migration.save({MoveStatus.ACCEPTED}, dest_node=elsewhere[0])
        send(migration)
    else:
        _refuse(migration, instance, "No valid host was found.")


def _claim(migration: Migration, instance: Instance, host: str) -> None:
    kind = _KINDS[migration.migration_type]
    if kind.claim(migration, instance, host):
        kind.tell(host, migration.uuid)
        _look_again(migration)
    else:
        migration.save({MoveStatus.ACCEPTED}, dest_node=None)  # it has filled up meanwhile
        send(migration, 1)


def _look_again(migration: Migration) -> None:
    instance = Instance.get(migration.cell, migration.instance)
    found = Migration.get(migration.cell, migration.uuid)
    assert found
    if instance is None or not _is_wanted(found, instance):
        _clear_up(found, instance)


def _refuse(migration: Migration, instance: Instance, why: str) -> None:
    """Leave the instance where it is."""
    LOG.warning("%s can not leave %s: %s", instance.uuid, instance.host, why)
    kind = _KINDS[migration.migration_type]
    kind.give_back(migration, instance)
    record_fault(migration.cell, instance.uuid, why)
    instance.save(
        vm_state=kind.refused(instance),
        task_state=None,
        expected_task_state={kind.task},
        also=together(
            migration.changing({MoveStatus.ACCEPTED}, status=MoveStatus.ERROR),
            InstanceAction.ending(instance.uuid, migration.migration_type.action, "Error"),
        ),
    )


def _clear_up(migration: Migration, instance: Instance | None) -> None:
    """Give back what was claimed for a move that had ended meanwhile, if anything was."""
    if instance is None or instance.task_state == Task.DELETING:
        allocations.release(migration.instance)
        allocations.release(migration.uuid)
        return
    failed = migration.status in (MoveStatus.ERROR, MoveStatus.FAILED)
    stays = instance.host == migration.source_compute and instance.task_state is None
    if failed and stays and not Migration.of_instance(instance.cell, instance.uuid):
        _KINDS[migration.migration_type].give_back(migration, instance)


def _claim_beside(migration: Migration, instance: Instance, host: str) -> bool:
    wanted = allocations.of_flavor(migration.new_flavor)
    owner = (instance.project_id, instance.user_id)
    return allocations.claim_beside(instance.uuid, migration.source_compute, host, wanted, owner)


def _keep_source(migration: Migration, instance: Instance) -> None:
    allocations.keep_only(instance.uuid, migration.source_compute)


def _claim_apart(migration: Migration, instance: Instance, host: str) -> bool:
    if not services.is_host_up(migration.cell, migration.source_compute):
        raise RuntimeError(f"the compute of {migration.source_compute} is not up")
    allocations.hand_over(instance.uuid, migration.uuid)
    wanted = allocations.of_flavor(migration.new_flavor)
    owner = (instance.project_id, instance.user_id)
    try:
        allocations.claim_first(instance.uuid, [host], wanted, *owner)
    except allocations.NoValidHost:
        return False
    return True


def _give_back(migration: Migration, instance: Instance) -> None:
    allocations.give_back(migration.uuid, instance.uuid)


_KINDS = {
    MoveType.EVACUATION: _Kind(
        Task.REBUILDING,
        _claim_beside,
        _keep_source,
        ComputeRpc.rebuild_evacuated,
        ConductorRpc.evacuate_server,
        lambda _: Vm.ERROR,
    ),
    MoveType.LIVE_MIGRATION: _Kind(
        Task.MIGRATING,
        _claim_apart,
        _give_back,
        ComputeRpc.live_migration_claim,
        ConductorRpc.live_migrate_server,
        lambda instance: instance.vm_state,
    ),
}
