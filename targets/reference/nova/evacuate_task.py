"""Conductor: finds a host for a server whose own is down, and claims it in placement.

The instance itself holds both hosts until the old one has forgotten it. Which host is next is
decided by one conditional statement before anything is claimed there, so that of two conductors
both claim the same one. Who finds the evacuation ended after he has claimed something gives it
back.
"""

from __future__ import annotations

import logging

from targets.reference.nova import allocations, databases
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.migration import Migration, MoveConflict, MoveStatus, MoveType
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, retry_delay_s
from targets.reference.nova.states import Task, Vm
from targets.reference.nova.usage import together

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


def run(cell: str, uuid: str, attempt: int = 0) -> None:
    """Bring an evacuation as far as its destination's claim; after some attempts, give it up."""
    migration = Migration.get(cell, uuid)
    if migration is None:
        return
    try:
        instance = Instance.get(cell, migration.instance)
        if instance is None or not _is_wanted(migration, instance):
            _clear_up(migration, instance)
        elif attempt >= LAST_ATTEMPT:
            _refuse(migration, instance, "The evacuation failed too often.")
        elif migration.dest_node:
            _claim(migration, instance, migration.dest_node)
        else:
            _choose(migration, instance)
    except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
        LOG.info("evacuation %s: %s", uuid, conflict)
        ConductorRpc.evacuate_server(cell, uuid)  # look what it is now
    except Exception:
        LOG.exception("evacuation %s failed, attempt %d", uuid, attempt)
        ConductorRpc.evacuate_server(cell, uuid, attempt + 1, retry_delay_s(attempt))


def resume() -> None:
    """Take up every evacuation that no host has begun with."""
    begun = {"migration_type": MoveType.EVACUATION, "status": MoveStatus.ACCEPTED}
    for cell in databases.cells()[1:]:
        for migration in Migration.find(cell, **begun):
            ConductorRpc.evacuate_server(cell, migration.uuid, attempt=1)


def _is_wanted(migration: Migration, instance: Instance) -> bool:
    return migration.status == MoveStatus.ACCEPTED and instance.task_state == Task.REBUILDING


def _choose(migration: Migration, instance: Instance) -> None:
    hosts = SchedulerRpc.select_hosts(RequestSpec.of_move(instance, migration, anywhere=False))
    elsewhere = [host for host in hosts if host != migration.source_compute]
    if not elsewhere:
        _refuse(migration, instance, "No valid host was found.")
        return
    migration.save({MoveStatus.ACCEPTED}, dest_node=elsewhere[0])
    ConductorRpc.evacuate_server(migration.cell, migration.uuid)


def _claim(migration: Migration, instance: Instance, host: str) -> None:
    wanted = allocations.of_flavor(migration.new_flavor)
    owner = (instance.project_id, instance.user_id)
    if allocations.claim_beside(instance.uuid, migration.source_compute, host, wanted, owner):
        ComputeRpc.rebuild_evacuated(host, migration.uuid)
        _look_again(migration)
    else:
        migration.save({MoveStatus.ACCEPTED}, dest_node=None)  # it has filled up meanwhile
        ConductorRpc.evacuate_server(migration.cell, migration.uuid, 1)


def _look_again(migration: Migration) -> None:
    instance = Instance.get(migration.cell, migration.instance)
    found = Migration.get(migration.cell, migration.uuid)
    assert found
    if instance is None or not _is_wanted(found, instance):
        _clear_up(found, instance)


def _refuse(migration: Migration, instance: Instance, why: str) -> None:
    """Leave the instance in ERROR where it is."""
    LOG.warning("%s can not leave %s: %s", instance.uuid, instance.host, why)
    allocations.keep_only(instance.uuid, migration.source_compute)
    record_fault(migration.cell, instance.uuid, why)
    instance.save(
        vm_state=Vm.ERROR,
        task_state=None,
        expected_task_state={Task.REBUILDING},
        also=together(
            migration.changing({MoveStatus.ACCEPTED}, status=MoveStatus.ERROR),
            InstanceAction.ending(instance.uuid, "evacuate", "Error"),
        ),
    )


def _clear_up(migration: Migration, instance: Instance | None) -> None:
    """Give back what was claimed for an evacuation that had ended meanwhile, if anything was."""
    if instance is None:
        allocations.release(migration.instance)
        return
    failed = migration.status in (MoveStatus.ERROR, MoveStatus.FAILED)
    if failed and instance.host and not Migration.of_instance(instance.cell, instance.uuid):
        allocations.keep_only(instance.uuid, instance.host)
