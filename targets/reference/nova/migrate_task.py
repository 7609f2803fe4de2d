"""Conductor: finds a host for a server that is to be moved, and claims it in placement.

The server's allocation goes to the migration first, so that it can claim another host and its place
is kept. Everything here may be done again, also by two conductors at once: placement's generations
and the migration's conditional change decide. Who finds the move ended after he has claimed
something gives it back.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from targets.reference.nova import allocations, databases, settings
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.allocations import NoValidHost
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.migration import Migration, MoveConflict, MoveStatus, MoveType
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, retry_delay_s
from targets.reference.nova.states import Task
from targets.reference.nova.usage import together

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


def run(cell: str, uuid: str, attempt: int = 0) -> None:
    """Bring a move as far as its destination's claim; after some attempts, give it up."""
    migration = Migration.get(cell, uuid)
    if migration is None:
        return
    try:
        instance = Instance.get(cell, migration.instance)
        if not _wanted(migration, instance):
            _clear_up(migration, instance)
        elif migration.dest_node:
            _hand_on(migration, migration.dest_node)
        elif attempt < LAST_ATTEMPT:
            _place(migration, instance)
        else:
            _refuse(migration, instance, "The move failed too often.")
    except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
        LOG.info("move %s: %s", uuid, conflict)
        ConductorRpc.migrate_server(cell, uuid)  # look what it is now
    except Exception:
        LOG.exception("move %s failed, attempt %d", uuid, attempt)
        ConductorRpc.migrate_server(cell, uuid, attempt + 1, retry_delay_s(attempt))


def resume() -> None:
    """Take up every move that nobody has claimed a host for."""
    for cell in databases.cells()[1:]:
        begun = {"status": MoveStatus.PRE_MIGRATING, "dest_compute": None, "source_cell": cell}
        for migration in Migration.find(cell, **begun):
            ConductorRpc.migrate_server(cell, migration.uuid, attempt=1)


def _wanted(migration: Migration, instance: Instance | None) -> bool:
    return (
        instance is not None
        and instance.task_state == Task.RESIZE_PREP
        and migration.status == MoveStatus.PRE_MIGRATING
        and not migration.rolling_back
    )


def _place(migration: Migration, instance: Instance | None) -> None:
    assert instance
    allocations.hand_over(instance.uuid, migration.uuid)
    if migration.alternates is None:
        migration.save({MoveStatus.PRE_MIGRATING}, alternates=_select_hosts(migration, instance))
        ConductorRpc.migrate_server(migration.cell, migration.uuid)
        return
    try:
        owner = (instance.project_id, instance.user_id)
        wanted = allocations.of_flavor(migration.new_flavor)
        host = allocations.claim_first(instance.uuid, migration.alternates, wanted, *owner)
    except NoValidHost as error:
        _refuse(migration, instance, str(error))
        return
    rest = migration.alternates[migration.alternates.index(host) + 1 :]
    cell = databases.cell_of_host(host)
    migration.save({MoveStatus.PRE_MIGRATING}, dest_node=host, dest_cell=cell, alternates=rest)
    _hand_on(replace(migration, dest_cell=cell), host)


def _hand_on(migration: Migration, host: str) -> None:
    if migration.is_cross_cell:
        ConductorRpc.move_across_cells(migration.uuid)
    else:
        ComputeRpc.prep_resize(host, migration.uuid)


def _select_hosts(migration: Migration, instance: Instance) -> list[str]:
    anywhere = bool(settings.get("cross_cell_resize"))
    found = SchedulerRpc.select_hosts(RequestSpec.of_move(instance, migration, anywhere))
    elsewhere = [host for host in found if host != migration.source_compute]
    if migration.migration_type == MoveType.RESIZE and migration.source_compute in found:
        # A resize may stay where it is, but only when there is no other place.
        return [*elsewhere, migration.source_compute]
    return elsewhere


def _refuse(migration: Migration, instance: Instance | None, why: str) -> None:
    """Leave the instance where it is, as it was."""
    assert instance
    LOG.warning("%s stays on %s: %s", instance.uuid, instance.host, why)
    allocations.give_back(migration.uuid, instance.uuid)
    record_fault(migration.cell, instance.uuid, why)
    action = migration.migration_type.action
    instance.save(
        task_state=None,
        expected_task_state={Task.RESIZE_PREP},
        also=together(
            migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.ERROR),
            InstanceAction.ending(instance.uuid, action, "Error"),
        ),
    )


def _clear_up(migration: Migration, instance: Instance | None) -> None:
    """Give back what was claimed for a move that had ended meanwhile, if anything was."""
    if instance is None or instance.task_state == Task.DELETING:
        allocations.release(migration.uuid)
        allocations.release(migration.instance)
    elif migration.status == MoveStatus.ERROR and migration.dest_compute is None:
        allocations.give_back(migration.uuid, instance.uuid)
