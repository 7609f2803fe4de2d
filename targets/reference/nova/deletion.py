"""Delete a server, at whatever stage it is and whoever else is at it.

A delete that was accepted is fulfilled: another delete, the conductor or a compute may remove any
record between any two steps here; whoever does, does the rest as well (see the package's rules).
"""

from __future__ import annotations

import logging

from targets.reference.client import Unreachable
from targets.reference.nova import (
    allocations,
    databases,
    images,
    ports,
    services,
    settings,
    usage,
    volumes,
)
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import ALLOW_SOFT_DELETE, Task
from targets.reference.policy import owns

LOG = logging.getLogger(__name__)


class InstanceLocked(Exception):
    """Nobody but an administrator may do that with the server."""


def find(uuid: str) -> BuildRequest | Instance | None:
    """Return the record of a server, wherever it is; None when there is none (any more)."""
    # Where there is no instance, it may have got into its cell by the time the request is gone.
    return instance_in_cell(uuid) or BuildRequest.get(uuid) or instance_in_cell(uuid)


def delete(uuid: str) -> None:
    """Delete a server.

    Raises:
        InstanceNotFound: there was none of the caller's when the request came. One that goes
            afterwards, by somebody else's hand, is what was asked for.
        InstanceLocked: only an administrator may.
    """
    found = find(uuid)
    if found is None or not owns(found.project_id):
        raise InstanceNotFound(f"Instance {uuid} could not be found.")
    if found.is_locked_for_caller:
        raise InstanceLocked(f"Instance {uuid} is locked")
    InstanceMapping.queue_for_delete(uuid)
    try:
        if not delete_while_booting(uuid):
            delete_in_cell(uuid)
    except Unreachable as error:
        # It is written down that it is wanted gone; a conductor goes on until it is.
        LOG.warning("deleting %s stops: %s", uuid, error)
        ConductorRpc.build_instance(uuid, 1, retry_delay_s(0))


def delete_as_configured(uuid: str) -> None:
    """Delete a server as its user asks for it: softly, where that is set and it is on a host.

    One that is deleted softly already is deleted for good.

    Raises:
        InstanceNotFound: there was none when the request came.
    """
    if not (settings.get("reclaim_instance_interval") and _delete_softly(uuid)):
        delete(uuid)


def _delete_softly(uuid: str) -> bool:
    instance = instance_in_cell(uuid)
    if instance is None or not (
        owns(instance.project_id) and instance.host and instance.vm_state in ALLOW_SOFT_DELETE
    ):
        return False
    if not owns(instance.project_id) or instance.is_locked_for_caller:
        return False
    try:
        asked = InstanceAction.starting(uuid, "delete")
        marked = instance.save(
            task_state=Task.SOFT_DELETING, expected_task_state={None}, also=asked
        )
    except (InstanceNotFound, UnexpectedTaskState):
        return False
    ComputeRpc.soft_delete(marked)
    return True


def delete_while_booting(uuid: str) -> bool:
    """Stop a server from being built; False when it is built already, or another delete stopped it.

    The conductor finds the build request gone and gives back what it had made by then.
    """
    request = BuildRequest.get(uuid)
    if request is None or not BuildRequest.destroy(uuid):
        return False
    LOG.info("deleting %s while it boots", uuid)
    give_back_reservations(uuid)
    for device in request.devices:
        if device.delete_on_termination:
            volumes.delete_volume(device.volume)
    instance = instance_in_cell(uuid)
    if instance:
        delete_instance(instance)
    return True


def delete_in_cell(uuid: str) -> None:
    """Delete a server that has reached a cell, unless it is gone by now (LP#1914777)."""
    instance = instance_in_cell(uuid)
    if instance is None:
        LOG.info("%s was deleted by somebody else", uuid)
        return
    delete_instance(instance)


def instance_in_cell(uuid: str) -> Instance | None:
    """Return the record of a server in its cell, None when it is in none."""
    mapping = InstanceMapping.get(uuid)
    return Instance.get(mapping.cell, uuid) if mapping and mapping.cell else None


def delete_instance(instance: Instance) -> None:
    """Mark the record; then have its host remove it, or do it here when no host can.

    A host that comes later finds the mark and does not claim it.
    """
    try:
        asked = InstanceAction.starting(instance.uuid, "delete")
        marked = instance.save(task_state=Task.DELETING, also=asked)
    except InstanceNotFound:
        return
    go_on(marked)


def go_on(marked: Instance) -> None:
    """Have an instance that is marked removed by its host; or do it here when no host can."""
    if not marked.host:
        remove_unhosted(marked)
    elif services.is_host_up(marked.cell, marked.host):
        ComputeRpc.terminate(marked)
    else:
        remove_from_down_host(marked, marked.host)


def remove_unhosted(instance: Instance) -> None:
    """Remove an instance that is marked and on no host: what hangs on it first, the record last."""
    release_volumes(instance)
    give_back_reservations(instance.uuid)
    images.forget_of(instance)
    if instance.ports:
        ports.release(instance.uuid, instance.requested_networks)
    for migration in Migration.find(instance.cell, instance=instance.uuid):
        allocations.release(migration.uuid)
    allocations.release(instance.uuid)
    instance.destroy(usage.forget(instance))


def remove_from_down_host(instance: Instance, host: str) -> None:
    """Remove an instance that is marked, and whose host is down; all but its guest.

    A compute that starts removes the guests of deleted instances as soon as it can be seen to be
    up; so either it finds this one deleted, or it is up by the end of this and is told.
    """
    LOG.info("deleting %s here, as %s is down", instance.uuid, host)
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration and migration.is_cross_cell:
        ConductorRpc.move_across_cells(migration.uuid)  # it comes again when the other copy is gone
        return
    ports.release(instance.uuid, instance.requested_networks)
    remove_unhosted(instance)
    if services.is_listening(host):
        ComputeRpc.terminate(instance)
    if migration:
        for other in migration.hosts - {host}:
            ComputeRpc.end_move(other, migration.uuid)


def release_volumes(instance: Instance) -> None:
    """Give back an instance's volumes, and delete those that shall end with it."""
    for device in BlockDevice.find(instance.cell, instance=instance.uuid):
        release_volume(device)


def release_volume(device: BlockDevice) -> None:
    """Give back one volume, and end it if it shall end with its server."""
    give_back(device)
    end_volume(device)


def end_volume(device: BlockDevice) -> None:
    """Forget a volume that was given back, and delete it if it shall end with its server.

    A detach that had begun makes it its user's, not to be deleted.
    """
    if device.delete_on_termination and device.state != DeviceState.DETACHING:
        volumes.delete_volume(device.volume)
    device.destroy()


def give_back(device: BlockDevice) -> None:
    """Remove the attachment of a block device, also one whose maker died before he noted its id."""
    attachment = device.attachment or volumes.attachments_of(device.instance).get(device.volume)
    if attachment:
        volumes.delete_attachment(attachment)


def give_back_reservations(uuid: str) -> None:
    """Remove what reserves volumes for a server, whatever block devices there are (LP#2088066)."""
    for attachment in volumes.attachments_of(uuid).values():
        volumes.delete_attachment(attachment)


def abandon_build(uuid: str) -> None:
    """Give back what a build had made when a delete stopped it."""
    for instance in _records_of(uuid):
        delete_instance(instance)
    if not _records_of(uuid):
        give_back_reservations(uuid)
        allocations.release(uuid)
    if not any(Instance.is_deleted(cell, uuid) for cell in databases.cells()):
        InstanceMapping.destroy(uuid)
        allocations.release(uuid)  # by a conductor that is slow, or dead: no record tells of it now


def _records_of(uuid: str) -> list[Instance]:
    return [found for cell in databases.cells() for found in Instance.find(cell, uuid=uuid)]


def resume() -> None:
    """Take up every delete that was asked for and not finished; for start-up."""
    wanted = {(m.instance, m.cell) for m in InstanceMapping.find(queued_for_delete=True)}
    for cell in databases.cells():
        for instance in Instance.find(cell):
            if (instance.uuid, cell) in wanted:
                LOG.info("taking up the delete of %s again", instance.uuid)
                delete_instance(instance)
