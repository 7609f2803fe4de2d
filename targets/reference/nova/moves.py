"""What can be asked of a move: to begin, and when it is finished to stay or to be undone.

Each writes down what is wanted in the instance and in the migration, as one step, and tells who has
to do it. A message that is lost is sent again by whoever starts next.

Raises:
    InstanceNotFound, UnexpectedTaskState, MoveConflict: something else is being done with the
        server; by each of them.
"""

from __future__ import annotations

from typing import Any

from targets.reference.nova.action import InstanceAction
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import Migration, MoveStatus, MoveType, flavor_of
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.nova.usage import together


def begin(
    instance: Instance, kind: MoveType, new_flavor: dict[str, Any], host: str | None = None
) -> None:
    """Have a server moved to another flavor, to ``host`` if that is given."""
    uuid, create = Migration.creating(instance, kind, new_flavor, host)
    _write(instance, kind.action, Task.RESIZE_PREP, create)
    ConductorRpc.migrate_server(instance.cell, uuid)


def evacuate(instance: Instance, host: str | None, vm_state: Vm) -> None:
    """Have a server made anew on another host than its own, which is down; as it is to be then."""
    uuid, create = Migration.creating(
        instance, MoveType.EVACUATION, flavor_of(instance), host, MoveStatus.ACCEPTED, vm_state
    )
    _write(instance, MoveType.EVACUATION.action, Task.REBUILDING, create)
    ConductorRpc.evacuate_server(instance.cell, uuid)


def migrate_live(instance: Instance, host: str | None) -> None:
    """Have a server moved to another host while it runs, to ``host`` if that is given."""
    uuid, create = Migration.creating(
        instance, MoveType.LIVE_MIGRATION, flavor_of(instance), host, MoveStatus.ACCEPTED
    )
    _write(instance, MoveType.LIVE_MIGRATION.action, Task.MIGRATING, create)
    ConductorRpc.live_migrate_server(instance.cell, uuid)


def confirm(instance: Instance, migration: Migration) -> None:
    """Have a server stay where and what it has become."""
    decided = migration.changing({MoveStatus.FINISHED}, status=MoveStatus.CONFIRMING)
    _write(instance, "confirmResize", Task.RESIZE_CONFIRMING, decided)
    send_confirm(migration)


def revert(instance: Instance, migration: Migration) -> None:
    """Have a server go back to where and what it was."""
    decided = migration.changing({MoveStatus.FINISHED}, status=MoveStatus.REVERTING)
    _write(instance, "revertResize", Task.RESIZE_REVERTING, decided)
    send_revert(migration)


def send_confirm(migration: Migration) -> None:
    """Tell who has to go on that a move is confirmed."""
    if migration.is_cross_cell:
        ConductorRpc.move_across_cells(migration.uuid)
    else:
        ComputeRpc.confirm_resize(migration.source_compute, migration.uuid)


def send_revert(migration: Migration) -> None:
    """Tell who has to go on that a move is reverted."""
    if migration.is_cross_cell:
        ConductorRpc.move_across_cells(migration.uuid)
    else:
        ComputeRpc.revert_resize(str(migration.dest_compute), migration.uuid)


def _write(instance: Instance, name: str, task: Task, also: Step) -> None:
    asked = InstanceAction.starting(instance.uuid, name)
    instance.save(task_state=task, expected_task_state={None}, also=together(also, asked))
