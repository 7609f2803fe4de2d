"""A host's steps of a server's move to another cell, and back, by a snapshot of its root disk.

A conductor says which step is due, as it alone sees both cells (see
:mod:`targets.reference.nova.cross_cell`); the host looks by itself, under the instance's lock,
whether it is due by the records of its own cell, does it, writes that down there, and has a
conductor look again. Each can be done again. One that fails is tried some times more, and then the
move is rolled back; those that only give something back are tried for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from targets.reference.database import utc_now
from targets.reference.nova import images, ports, volumes
from targets.reference.nova.action import ActionEvent, InstanceAction, record_fault, tell_of
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.resizing import arrive, shut_down
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import (
    Instance,
    InstanceNotFound,
    Step,
    UnexpectedTaskState,
)
from targets.reference.nova.migration import IN_PROGRESS, Migration, MoveConflict, MoveStatus
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import MOVE_TASKS, Power, Task, Vm
from targets.reference.nova.usage import ComputeResourcesUnavailable, together

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 5


@dataclass(frozen=True, slots=True)
class Work:
    """What one step is about. ``others`` are the attachments that belong to the other cell."""

    host: Host
    migration: Migration
    instance: Instance
    others: Collection[str]

    @property
    def action(self) -> str:
        """What the user asked for in the beginning."""
        return self.migration.migration_type.action


class SnapshotMover:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def prep_snapshot_based_resize_at_dest(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Claim the copy of an instance, and reserve its volumes anew."""
        self._take(prep_at_dest, _is_to_come, migration, others, attempt)

    def prep_snapshot_based_resize_at_source(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Make an image of the guest, and destroy it."""
        self._take(prep_at_source, _is_to_leave, migration, others, attempt)

    def finish_snapshot_based_resize_at_dest(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Make the guest of that image."""
        self._take(finish_at_dest, _is_to_arrive, migration, others, attempt)

    def confirm_snapshot_based_resize_at_source(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Forget an instance that stays in the other cell."""
        self._take(confirm_at_source, _is_confirmed, migration, others, attempt)

    def revert_snapshot_based_resize_at_dest(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Forget an instance that goes back to the other cell."""
        self._take(revert_at_dest, _is_reverted, migration, others, attempt)

    def finish_revert_snapshot_based_resize_at_source(
        self, migration: str, others: list[str], attempt: int = 0
    ) -> None:
        """Make the guest again that was destroyed here."""
        self._take(finish_revert_at_source, _is_to_return, migration, others, attempt)

    def rollback_at_source(self, migration: str, others: list[str], attempt: int = 0) -> None:
        """Have the volumes of an instance that could not be moved connected again."""
        self._take(rollback_at_source, _is_to_stay, migration, others, attempt)

    def end_copy(self, migration: str, others: list[str], attempt: int = 0) -> None:
        """Forget the copy of an instance that is, and stays, in the other cell."""
        self._take(end_copy, _is_hidden, migration, others, attempt)

    def _take(
        self,
        step: Callable[[Work], None],
        is_due: Callable[[Work], bool],
        uuid: str,
        others: Collection[str],
        attempt: int,
    ) -> None:
        cell, name = self._host.cell, self._host.name
        known = Migration.get(cell, uuid)
        if known is None:
            return
        with self._host.locked(known.instance):
            migration, instance = Migration.get(cell, uuid), Instance.get(cell, known.instance)
            if migration is None or instance is None:
                return
            work = Work(self._host, migration, instance, others)
            if not is_due(work):
                LOG.info("%s of migration %s is not due", step.__name__, uuid)
                return
            try:
                if attempt < LAST_ATTEMPT or step not in GIVE_UP:
                    step(work)
                else:
                    GIVE_UP[step](work)
            except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
                LOG.info("migration %s stops: %s", uuid, conflict)
            except Exception as error:
                LOG.exception("migration %s failed, attempt %d", uuid, attempt)
                record_fault(cell, known.instance, f"{known.migration_type}: {error}")
                delay_s = retry_delay_s(attempt)
                name_of = NAMES[step]
                ComputeRpc.cross_cell_step(name, name_of, uuid, others, attempt + 1, delay_s)
                return
        ConductorRpc.move_across_cells(uuid)


def prep_at_dest(work: Work) -> None:
    """Claim the resources, and attachments of this cell's own for the volumes."""
    host, migration, copy = work.host, work.migration, work.instance
    if copy.host is None:
        try:
            copy = host.tracker.cross_cell_claim(copy, migration)
        except ComputeResourcesUnavailable as error:
            LOG.warning("%s can not come: %s", copy.uuid, error)
            refuse(work)
            return
        migration = _again(migration)
    _reserve(copy, work.others)
    copy.save(
        expected_task_state={Task.RESIZE_PREP},
        also=migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.MIGRATING),
    )


def refuse(work: Work) -> None:
    """Say that this host can not have the instance."""
    migration = _again(work.migration)
    migration.save({MoveStatus.PRE_MIGRATING}, rolling_back=True)


def prep_at_source(work: Work) -> None:
    """Shut the guest down, keep what its disk holds, part from volumes and guest."""
    host, instance = work.host, work.instance
    event = "compute_prep_snapshot_based_resize_at_source"
    ActionEvent.begin(host.cell, instance.uuid, work.action, host.name, event)
    devices.finish(host, instance)
    image = instance.system_metadata.get(images.RESIZE)
    if host.driver.power_state(instance.uuid) != Power.NOSTATE:
        shut_down(host, instance)
        if image:
            images.create_snapshot(image, f"{instance.name}-resize-temp", instance, temporary=True)
            images.upload(image, host.driver.snapshot(instance.uuid))
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        devices.park(host, device, work.others)
    host.driver.destroy(instance.uuid)
    instance.save(
        task_state=Task.RESIZE_MIGRATED,
        power_state=Power.NOSTATE,
        expected_task_state={Task.RESIZE_MIGRATING},
        also=work.migration.changing({MoveStatus.MIGRATING}, status=MoveStatus.POST_MIGRATING),
    )


def finish_at_dest(work: Work) -> None:
    """Make the guest; the conductor shows the instance to its user."""
    host, copy = work.host, work.instance
    event = "compute_finish_snapshot_based_resize_at_dest"
    ActionEvent.begin(host.cell, copy.uuid, work.action, host.name, event)
    _reserve(copy, work.others)
    power = arrive(host, work.migration, copy, copy.system_metadata.get(images.RESIZE, ""))
    copy.save(
        vm_state=Vm.RESIZED,
        power_state=power,
        launched_at=utc_now(),
        expected_task_state={Task.RESIZE_FINISH},
        also=work.migration.changing({MoveStatus.POST_MIGRATING}, status=MoveStatus.FINISHED),
    )


def confirm_at_source(work: Work) -> None:
    """Forget what is here of an instance that stays where it has moved to."""
    host, copy = work.host, work.instance
    event = "compute_confirm_snapshot_based_resize_at_source"
    ActionEvent.begin(host.cell, copy.uuid, "confirmResize", host.name, event)
    _part(work)
    over = InstanceAction.ending(copy.uuid, "confirmResize", "Success")
    drop_copy(host.tracker, copy, over)


def revert_at_dest(work: Work) -> None:
    """Forget what is here of an instance that goes back; its source tells the end."""
    host, copy = work.host, work.instance
    event = "compute_revert_snapshot_based_resize_at_dest"
    ActionEvent.begin(host.cell, copy.uuid, "revertResize", host.name, event)
    tell_of(host.cell, copy.uuid, "revertResize", "instance.exists", host.name)
    _part(work)
    drop_copy(host.tracker, copy)


def finish_revert_at_source(work: Work) -> None:
    """Make the guest again, as it was."""
    host, instance, migration = work.host, work.instance, work.migration
    _reserve(instance, ())
    power = arrive(host, migration, instance)
    instance.save(
        vm_state=migration.old_vm_state,
        power_state=power,
        task_state=None,
        expected_task_state={Task.RESIZE_REVERTING},
        also=together(
            migration.changing({MoveStatus.REVERTING}, status=MoveStatus.REVERTED),
            InstanceAction.finishing_all(instance.uuid, "Success"),
        ),
    )


def rollback_at_source(work: Work) -> None:
    """Connect volumes and ports again; the instance is in ERROR: a hard reboot makes its guest."""
    host, instance = work.host, work.instance
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, host.name)
    _reserve(instance, ())
    for device in BlockDevice.find(host.cell, instance=instance.uuid, state=DeviceState.ATTACHED):
        devices.connect(host, device)
        devices.complete(device)
    leave_in_error(work)


def leave_in_error(work: Work) -> None:
    """End the move, and what was asked; the instance is in ERROR where it is."""
    instance = work.instance
    instance.save(
        vm_state=Vm.ERROR,
        task_state=None,
        power_state=work.host.driver.power_state(instance.uuid),
        system_metadata=instance.remembering(**{images.RESIZE: None}),
        expected_task_state={instance.task_state},
        also=together(
            work.migration.changing(IN_PROGRESS, status=MoveStatus.ERROR),
            InstanceAction.finishing_all(instance.uuid, "Error"),
        ),
    )


def end_copy(work: Work) -> None:
    """Forget what is here, whatever the copy was for."""
    _part(work)
    uuid = work.instance.uuid
    drop_copy(work.host.tracker, work.instance, InstanceAction.finishing_all(uuid, "Error"))


def drop_copy(tracker: ResourceTracker, copy: Instance, also: Step | None = None) -> None:
    """Remove the record of a copy and what it had of the host, as one step (LP#1879878)."""
    tracker.drop_copy(copy, also)


def roll_back(work: Work) -> None:
    """Say that the move is to be undone; a conductor does it."""
    work.migration.save(IN_PROGRESS, rolling_back=True)


def _part(work: Work) -> None:
    """Remove the guest, and give back the attachments of this cell, also those never noted."""
    host, copy = work.host, work.instance
    for device in BlockDevice.find(host.cell, instance=copy.uuid):
        with devices.users_of(host, device.volume):
            devices.take_from(host, device)
            if device.attachment:
                volumes.delete_attachment(device.attachment)
            elif work.others:
                for made in volumes.attachment_ids(copy.uuid, device.volume):
                    if made not in work.others:
                        volumes.delete_attachment(made)
    devices.remove_guest(host, copy.uuid)


def _reserve(instance: Instance, others: Collection[str]) -> None:
    for device in BlockDevice.find(instance.cell, instance=instance.uuid):
        if not device.attachment:
            device.note(volumes.reserve_anew(instance.uuid, device.volume, others))


def _again(migration: Migration) -> Migration:
    found = Migration.get(migration.cell, migration.uuid)
    if found is None:
        raise MoveConflict(f"migration {migration.uuid} is gone")
    return found


def _is_to_come(work: Work) -> bool:
    wanted = work.instance.hidden and work.instance.task_state == Task.RESIZE_PREP
    mine = work.migration.dest_node == work.host.name and not work.migration.rolling_back
    return wanted and mine and work.migration.status == MoveStatus.PRE_MIGRATING


def _is_to_leave(work: Work) -> bool:
    leaving = work.instance.task_state == Task.RESIZE_MIGRATING
    return leaving and not work.migration.rolling_back and _is_source(work)


def _is_to_arrive(work: Work) -> bool:
    coming = work.migration.status == MoveStatus.POST_MIGRATING and _is_hidden(work)
    wanted = work.instance.task_state == Task.RESIZE_FINISH and not work.migration.rolling_back
    return coming and wanted


def _is_confirmed(work: Work) -> bool:
    confirmed = work.migration.status == MoveStatus.CONFIRMING
    return confirmed and _is_hidden(work) and _is_source(work)


def _is_reverted(work: Work) -> bool:
    reverted = work.migration.status == MoveStatus.REVERTING
    return reverted and _is_hidden(work) and not _is_source(work)


def _is_to_return(work: Work) -> bool:
    returning = work.instance.task_state == Task.RESIZE_REVERTING
    return returning and not work.instance.hidden and _is_source(work)


def _is_to_stay(work: Work) -> bool:
    moving = work.instance.task_state in MOVE_TASKS
    return moving and work.migration.rolling_back and _is_source(work)


def _is_hidden(work: Work) -> bool:
    return work.instance.hidden and work.instance.host == work.host.name


def _is_source(work: Work) -> bool:
    return work.migration.source_compute == work.host.name


NAMES: dict[Callable[[Work], None], str] = {
    prep_at_dest: "prep_snapshot_based_resize_at_dest",
    prep_at_source: "prep_snapshot_based_resize_at_source",
    finish_at_dest: "finish_snapshot_based_resize_at_dest",
    confirm_at_source: "confirm_snapshot_based_resize_at_source",
    revert_at_dest: "revert_snapshot_based_resize_at_dest",
    finish_revert_at_source: "finish_revert_snapshot_based_resize_at_source",
    rollback_at_source: "rollback_at_source",
    end_copy: "end_copy",
}
"""What each step is called on the bus."""
GIVE_UP: dict[Callable[[Work], None], Callable[[Work], None]] = {
    prep_at_dest: refuse,
    prep_at_source: roll_back,
    finish_at_dest: roll_back,
    finish_revert_at_source: leave_in_error,
    rollback_at_source: leave_in_error,
}
"""What is done when a step has failed too often; the others are tried for ever."""
