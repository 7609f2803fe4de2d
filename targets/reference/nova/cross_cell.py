"""Conductor: moves a server to a host in another cell, and back.

No transaction spans two cells, so one of them *has the say*: the one that the instance mapping
names. Its record decides, as in a move within a cell; the other cell has a hidden copy of it (see
:mod:`.cell_copies`), which decides nothing. The say passes on by one conditional statement. The
words are those of Nova's cross-cell tasks.

==============  ==============================  ==================================================
while           the record that has the say     what is done next
==============  ==============================  ==================================================
resize          source: resize_prep             the copy is written at the target, and its host
                                                claims it: *prep at dest*
                source: resize_migrating        *prep at source*: guest off, image made, volumes
                                                parked, guest destroyed
                source: resize_migrated         *finish at dest*: guest made; then the say passes
VERIFY_RESIZE   target: finished                what is detached is forgotten at home
confirm         target: resize_confirming       *confirm at source*: its copy goes; then it ends
revert          target: resize_reverting        the copy learns what has changed, the say passes
                source: resize_reverting        *revert at dest*: its copy goes; then *finish
                                                revert at source*: guest made
failed          source: ``rolling_back``        the target's copy goes, the image, the claims;
                                                *rollback at source*: volumes back, ERROR
delete          deleting                        the other copy goes; then it is as any other
==============  ==============================  ==================================================

:func:`run` looks and does one of these; each is a conditional statement, can be done again, or is a
host's step that looks by itself whether it is due, and has this run again when it is done. So any
number of conductors may be at one move, and whoever starts has all moves looked at: nothing is
known but what is written down. What ends a copy is never taken back, so who has looked too early
does no harm.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import sqlalchemy as sa

from targets.reference.nova import (
    allocations,
    cell_copies,
    databases,
    deletion,
    images,
    services,
    usage,
    volumes,
)
from targets.reference.nova.action import InstanceAction, last_fault, record_fault
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import (
    IN_PROGRESS,
    Migration,
    MoveConflict,
    MoveStatus,
    in_progress,
)
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import Task, Vm
from targets.reference.nova.tables import INSTANCES, MIGRATIONS
from targets.reference.nova.usage import together

LOG = logging.getLogger(__name__)
CONFIRM_EVENT = "conductor_confirm_snapshot_based_resize"
REVERT_EVENT = "conductor_revert_snapshot_based_resize"


@dataclass(frozen=True, slots=True)
class Side:
    """What one cell has of a move."""

    instance: Instance
    migration: Migration

    @property
    def attachments(self) -> list[str]:
        """The attachments that belong to this cell."""
        return cell_copies.attachments(self.instance)


@dataclass(frozen=True, slots=True)
class Move:
    """What both cells have, as of about one moment; ``at_source`` says who has the say."""

    source: Side | None
    dest: Side | None
    at_source: bool


def run(uuid: str, attempt: int = 0) -> None:
    """Do the next thing for a move, or have it done; it is tried for ever."""
    try:
        move = look(uuid)
        if move is None:
            return
        if move.at_source:
            _with_the_say_at_source(move)
        else:
            _with_the_say_at_dest(move)
    except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
        LOG.info("move %s: %s", uuid, conflict)
        ConductorRpc.move_across_cells(uuid, attempt)  # look what it is now
    except Exception:
        LOG.exception("move %s between cells failed, attempt %d", uuid, attempt)
        ConductorRpc.move_across_cells(uuid, attempt + 1, retry_delay_s(attempt))


def resume(host: str | None = None) -> None:
    """Take up every move between cells; or those of which a host has a part.

    Also one that is over, whose server is being deleted: its host may not have been told so.
    """
    found: dict[str, None] = {}
    columns = (MIGRATIONS.c.source_compute, MIGRATIONS.c.dest_node)
    here = [sa.or_(*(column == host for column in columns))] if host else []
    cells = databases.cells()[1:]
    for cell in cells if len(cells) > 1 else ():
        across = MIGRATIONS.c.dest_cell != MIGRATIONS.c.source_cell
        goes = sa.select(INSTANCES.c.uuid).filter_by(task_state=Task.DELETING, deleted_at=None)
        begun = sa.or_(in_progress(), MIGRATIONS.c.instance.in_(goes))
        for migration in Migration.find(cell, begun, across, *here):
            found[migration.uuid] = None
    for uuid in found:
        ConductorRpc.move_across_cells(uuid)


def look(uuid: str) -> Move | None:
    """Read what there is of a move; None when there is nothing any more.

    The cell that has the say is read last: what it says is not older than what the other has.
    """
    known = _find(uuid)
    if known is None or not known.is_cross_cell:
        return None
    mapping = InstanceMapping.get(known.instance)
    at_source = mapping is None or mapping.cell != known.dest_cell
    source, dest = known.source_cell, str(known.dest_cell)
    if at_source:
        there = _side(dest, uuid)
        return Move(_side(source, uuid), there, at_source)
    return Move(_side(source, uuid), _side(dest, uuid), at_source)


def _find(uuid: str) -> Migration | None:
    """Return a record of a move that knows both cells; a copy's where that is not wanted.

    The one that has the say may not know yet where it goes, or may have chosen anew.
    """
    found = [m for cell in databases.cells()[1:] if (m := Migration.get(cell, uuid))]
    wanted = {m.dest_cell for m in found if m.cell == m.source_cell}
    across = [m for m in found if m.is_cross_cell]
    return min(across, key=lambda m: m.dest_cell in wanted, default=None)


def _side(cell: str, uuid: str) -> Side | None:
    migration = Migration.get(cell, uuid)
    instance = Instance.get(cell, migration.instance) if migration else None
    return Side(instance, migration) if migration and instance else None


# ------------------------------------------------------------------ the source has the say


def _with_the_say_at_source(move: Move) -> None:
    here, there = move.source, move.dest
    if here is None:
        if there:
            _end(there, None)
    elif here.instance.task_state == Task.DELETING:
        _delete(here, there)
    elif here.migration.rolling_back:
        _roll_back(here, there)
    elif there and _is_not_wanted(there, here):
        _end(there, here)
    else:
        _go_on_at_source(here, there)


def _go_on_at_source(here: Side, there: Side | None) -> None:
    migration = here.migration
    match here.instance.task_state, migration.status:
        case Task.RESIZE_PREP, MoveStatus.PRE_MIGRATING if migration.is_cross_cell:
            _prepare(here, there)
        case Task.RESIZE_PREP, MoveStatus.PRE_MIGRATING:
            ConductorRpc.migrate_server(migration.cell, migration.uuid)
        case Task.RESIZE_MIGRATING, MoveStatus.MIGRATING:
            _step(migration.source_compute, "prep_snapshot_based_resize_at_source", here, there)
        case Task.RESIZE_MIGRATED, MoveStatus.POST_MIGRATING if there:
            _finish(here, there)
        case Task.RESIZE_REVERTING, MoveStatus.REVERTING:
            _revert_at_source(here, there)


def _is_not_wanted(there: Side, here: Side) -> bool:
    """Whether a copy is of an attempt that is over, or of a move that is."""
    over = here.migration.status not in IN_PROGRESS
    return over or there.migration.dest_node != here.migration.dest_node


def _prepare(here: Side, there: Side | None) -> None:
    """Have the instance claimed at its destination; then it may leave its source."""
    migration = here.migration
    if there is None:
        set_up_target_cell(here.instance, migration)
        return
    if there.migration.rolling_back:
        refuse(here)
    elif there.migration.status == MoveStatus.PRE_MIGRATING:
        _step(str(migration.dest_node), "prep_snapshot_based_resize_at_dest", there, here)
    else:
        image = str(migration.uuid) if here.instance.image else None
        here.instance.save(
            task_state=Task.RESIZE_MIGRATING,
            system_metadata=here.instance.remembering(**{images.RESIZE: image}),
            expected_task_state={Task.RESIZE_PREP},
            also=migration.changing(
                {MoveStatus.PRE_MIGRATING},
                status=MoveStatus.MIGRATING,
                dest_compute=migration.dest_node,
            ),
        )
        ConductorRpc.move_across_cells(migration.uuid)


def set_up_target_cell(instance: Instance, migration: Migration) -> None:
    """Write the copy; whoever looks next finds it, and whether it is wanted still."""
    cell_copies.write(instance, migration)
    ConductorRpc.move_across_cells(migration.uuid)


def refuse(here: Side) -> None:
    """Look for another host, as this one has no room; its copy is not wanted then."""
    here.migration.save({MoveStatus.PRE_MIGRATING}, dest_node=None, dest_cell=None)
    ConductorRpc.move_across_cells(here.migration.uuid)
    ConductorRpc.migrate_server(here.migration.cell, here.migration.uuid)


def _finish(here: Side, there: Side) -> None:
    """Have the guest made at the destination; then let that have the say."""
    arrived = there.migration
    if arrived.rolling_back:
        fault = last_fault(there.instance.cell, arrived.instance)
        if fault:
            record_fault(here.instance.cell, arrived.instance, fault[0])
        here.migration.save({MoveStatus.POST_MIGRATING}, rolling_back=True)
        ConductorRpc.move_across_cells(arrived.uuid)
    elif arrived.status == MoveStatus.MIGRATING:
        cell_copies.drop_detached(there.instance, here.instance)
        image = here.instance.system_metadata.get(images.RESIZE)
        there.instance.save(
            task_state=Task.RESIZE_FINISH,
            system_metadata=there.instance.remembering(**{images.RESIZE: image}),
            expected_task_state={Task.RESIZE_PREP},
            also=together(
                cell_copies.adopt_devices(there.instance, here.instance),
                arrived.changing({MoveStatus.MIGRATING}, status=MoveStatus.POST_MIGRATING),
            ),
        )
        ConductorRpc.move_across_cells(arrived.uuid)
    elif arrived.status == MoveStatus.POST_MIGRATING:
        _step(str(arrived.dest_compute), "finish_snapshot_based_resize_at_dest", there, here)
    elif arrived.status == MoveStatus.FINISHED:
        images.delete(here.instance.system_metadata.get(images.RESIZE, ""))
        pass_the_say(here, there)


def pass_the_say(source: Side, dest: Side) -> None:
    """Let the destination have the say: it is hidden at home before it is shown there."""
    source.instance.save(hidden=True, expected_task_state={Task.RESIZE_MIGRATED})
    learned = cell_copies.adopt_words(dest.instance, source.instance)
    cell_copies.at_once(dest.instance.cell, learned)
    if update_instance_mapping(source.instance, dest.instance.cell):
        show_at_dest(source, dest)


def update_instance_mapping(instance: Instance, cell: str) -> bool:
    """Let another cell have the say, unless the server's user wants it gone."""
    return InstanceMapping.move(instance.uuid, instance.cell, cell)


def show_at_dest(source: Side, dest: Side) -> None:
    """Let the user decide; then the copy at home is at rest."""
    if dest.instance.hidden:
        dest.instance.save(
            hidden=False,
            task_state=None,
            system_metadata=dest.instance.remembering(**{images.RESIZE: None}),
            expected_task_state={Task.RESIZE_FINISH},
            also=InstanceAction.finishing_all(dest.instance.uuid, "Success"),
        )
    action = source.migration.migration_type.action
    source.instance.save(
        vm_state=Vm.RESIZED,
        task_state=None,
        system_metadata=source.instance.remembering(**{images.RESIZE: None}),
        expected_task_state={Task.RESIZE_MIGRATED},
        also=together(
            source.migration.changing({MoveStatus.POST_MIGRATING}, status=MoveStatus.FINISHED),
            InstanceAction.ending(source.instance.uuid, action, "Success"),
        ),
    )


def _revert_at_source(here: Side, there: Side | None) -> None:
    """Have the destination forget the instance, then the guest made where it was."""
    if here.instance.hidden:
        here.instance.save(hidden=False, expected_task_state={Task.RESIZE_REVERTING})
    if there:
        _step(
            str(there.migration.dest_compute), "revert_snapshot_based_resize_at_dest", there, here
        )
        return
    _note_revert(here)
    allocations.give_back(here.migration.uuid, here.instance.uuid)
    host = here.migration.source_compute
    _step(host, "finish_revert_snapshot_based_resize_at_source", here, None)


def _note_revert(here: Side) -> None:
    """Write what the destination did, and that the source goes on, among the user's actions."""
    events = {
        "compute_revert_snapshot_based_resize_at_dest": str(here.migration.dest_compute),
        "compute_finish_revert_snapshot_based_resize_at_source": here.migration.source_compute,
    }
    cell_copies.at_once(
        here.instance.cell,
        *(
            cell_copies.record_event(
                here.instance.cell, here.instance.uuid, "revertResize", event, host,
                over=event.endswith("dest"),
            )
            for event, host in events.items()
        ),
    )  # fmt: skip


def _roll_back(here: Side, there: Side | None) -> None:
    """Undo what was done, the last first; each thing is gone before the next one goes."""
    if there:
        _end(there, here)
    elif here.instance.task_state is not None:
        images.delete(here.instance.system_metadata.get(images.RESIZE, ""))
        allocations.give_back(here.migration.uuid, here.instance.uuid)
        _step(here.migration.source_compute, "rollback_at_source", here, None)


# ------------------------------------------------------------------ the destination has the say


def _with_the_say_at_dest(move: Move) -> None:
    here, there = move.dest, move.source
    if here is None:
        if there:
            _end(there, None)
    elif here.instance.task_state == Task.DELETING:
        _delete(here, there)
    elif there and here.migration.status not in IN_PROGRESS:
        _end(there, here)
    elif there and there.migration.status == MoveStatus.POST_MIGRATING:
        show_at_dest(there, here)
        ConductorRpc.move_across_cells(here.migration.uuid)
    else:
        _go_on_at_dest(here, there)


def _go_on_at_dest(here: Side, there: Side | None) -> None:
    match here.instance.task_state, here.migration.status:
        case Task.RESIZE_CONFIRMING, MoveStatus.CONFIRMING:
            _confirm(here, there)
        case Task.RESIZE_REVERTING, MoveStatus.REVERTING if there:
            _revert(here, there)
        case _, MoveStatus.FINISHED if there:
            cell_copies.drop_detached(there.instance, here.instance)


def _confirm(here: Side, there: Side | None) -> None:
    """Have the source forget the instance; then the move is over."""
    instance, migration = here.instance, here.migration
    if there is None:
        finish_confirm(instance, migration)
        return
    started = cell_copies.record_event(
        instance.cell, instance.uuid, "confirmResize", CONFIRM_EVENT, "", over=False
    )
    cell_copies.at_once(instance.cell, started)
    if there.migration.status == MoveStatus.FINISHED:
        there.instance.save(
            task_state=Task.RESIZE_CONFIRMING,
            expected_task_state={None},
            also=together(
                there.migration.changing({MoveStatus.FINISHED}, status=MoveStatus.CONFIRMING),
                cell_copies.adopt_action(instance, "confirmResize"),
            ),
        )
    source = migration.source_compute
    _step(source, "confirm_snapshot_based_resize_at_source", there, here)


def finish_confirm(instance: Instance, migration: Migration) -> None:
    """Give the source's place back, and end the move."""
    allocations.release(migration.uuid)
    event = "compute_confirm_snapshot_based_resize_at_source"
    instance.save(
        vm_state=migration.old_vm_state,
        task_state=None,
        expected_task_state={Task.RESIZE_CONFIRMING},
        also=together(
            migration.changing({MoveStatus.CONFIRMING}, status=MoveStatus.CONFIRMED),
            cell_copies.record_event(
                instance.cell, instance.uuid, "confirmResize", event, migration.source_compute,
                over=True,
            ),
            InstanceAction.ending(instance.uuid, "confirmResize", "Success"),
        ),
    )  # fmt: skip


def _revert(here: Side, there: Side) -> None:
    """Tell the copy at home what has changed, and let it have the say."""
    instance, migration = here.instance, here.migration
    if there.migration.status == MoveStatus.FINISHED:
        cell_copies.at_once(
            instance.cell,
            cell_copies.record_event(
                instance.cell, instance.uuid, "revertResize", REVERT_EVENT, "", over=False
            ),
        )
        cell_copies.drop_detached(there.instance, instance)
        there.instance.save(
            task_state=Task.RESIZE_REVERTING,
            expected_task_state={None},
            also=together(
                there.migration.changing({MoveStatus.FINISHED}, status=MoveStatus.REVERTING),
                cell_copies.adopt_words(there.instance, instance),
                cell_copies.adopt_devices(there.instance, instance),
                cell_copies.adopt_actions(there.instance, instance),
            ),
        )
    instance.save(hidden=True, expected_task_state={Task.RESIZE_REVERTING})
    if update_instance_mapping(instance, there.instance.cell):
        ConductorRpc.move_across_cells(migration.uuid)


# ------------------------------------------------------------------ copies that go


def _delete(here: Side, there: Side | None) -> None:
    """Have the other copy go; then the instance is deleted as any other is."""
    instance, migration = here.instance, here.migration
    if there:
        _end(there, here)
        return
    if instance.hidden:
        instance = instance.save(hidden=False, expected_task_state={Task.DELETING})
    if _goes_back(here):
        _note_revert(here)
    allocations.release(migration.uuid)
    if migration.status in IN_PROGRESS:
        migration.save(IN_PROGRESS, status=MoveStatus.ERROR)
    deletion.go_on(instance)


def _end(there: Side, here: Side | None) -> None:
    """Have a copy removed: by the host that has it, or at once if none has."""
    if not there.instance.hidden:
        return
    host = there.instance.host
    if host is None:
        if not cell_copies.remove_unclaimed(there.instance):
            raise MoveConflict(f"{there.instance.uuid} has just been claimed")
        ConductorRpc.move_across_cells(there.migration.uuid)
    elif _is_deleted(here) and not services.is_host_up(there.instance.cell, host):
        remove_from_down_host(there, host)
    elif here and _goes_back(here):
        _step(host, "revert_snapshot_based_resize_at_dest", there, here)
    else:
        _step(host, "end_copy", there, here)


def _goes_back(here: Side) -> bool:
    """Whether the source has the say of a move that is reverted."""
    at_source = here.migration.cell == here.migration.source_cell
    return at_source and here.migration.status == MoveStatus.REVERTING


def _is_deleted(here: Side | None) -> bool:
    return here is None or here.instance.task_state == Task.DELETING


def remove_from_down_host(there: Side, host: str) -> None:
    """Remove the copy of an instance that is deleted, and whose host is down; all but its guest.

    The row stays, marked, so that the host finds it when it starts and removes the guest.
    """
    copy = there.instance
    for device in BlockDevice.find(copy.cell, instance=copy.uuid):
        if device.attachment:
            volumes.delete_attachment(device.attachment)
        device.destroy()
    copy.destroy(usage.forget(copy))
    if services.is_listening(host):
        ComputeRpc.terminate(copy)
    ConductorRpc.move_across_cells(there.migration.uuid)


def _step(host: str, step: str, mine: Side, other: Side | None) -> None:
    others = other.attachments if other else []
    ComputeRpc.cross_cell_step(host, step, mine.migration.uuid, others)
