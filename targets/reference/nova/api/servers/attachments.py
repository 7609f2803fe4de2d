"""Attach and detach the volumes of a server that is there."""

from __future__ import annotations

from typing import Any

from targets.reference.client import BadRequest, NotFound, Unreachable
from targets.reference.nova import databases, reservations, volumes
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.block_device import BlockDevice, DeviceState, VolumeInUse
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance, InstanceNotFound
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import MOVE_TASKS, Task, Vm
from targets.reference.schema import Schema, read_body
from targets.reference.web import HttpError, Reply, Request, not_found

router = Router()
_PATH = "/servers/{server}/os-volume_attachments"


class AttachSchema(Schema):
    """What a user says of a volume that he attaches."""

    volumeId: str
    device: str | None = None
    tag: str | None = None
    delete_on_termination: bool = False


@router.route("GET", _PATH, "os-volumes-attachments:index")
def list_all(request: Request) -> dict[str, Any]:
    """List the volumes of a server."""
    return {"volumeAttachments": [_view(device) for device in find_all(request.path["server"])]}


@router.route("POST", _PATH, "os-volumes-attachments:create")
def post(request: Request) -> dict[str, Any]:
    """Attach a volume."""
    wanted = read_body(AttachSchema, request, "volumeAttachment")
    device = attach(request.path["server"], wanted.volumeId, wanted.delete_on_termination)
    return {"volumeAttachment": _view(device)}


@router.route("GET", _PATH + "/{volume}", "os-volumes-attachments:index")
def show(request: Request) -> dict[str, Any]:
    """Show a volume of a server."""
    return {"volumeAttachment": _view(get(request.path["server"], request.path["volume"]))}


@router.route("PUT", _PATH + "/{volume}", "os-volumes-attachments:update")
def put(request: Request) -> Reply:
    """Change whether a volume ends with its server."""
    wanted = request.body_of("volumeAttachment").get("delete_on_termination")
    if not isinstance(wanted, bool):
        raise HttpError(400, "Only delete_on_termination can be changed.")
    update(request.path["server"], request.path["volume"], wanted)
    return Reply(202)


@router.route("DELETE", _PATH + "/{volume}", "os-volumes-attachments:delete")
def delete(request: Request) -> Reply:
    """Detach a volume."""
    detach(request.path["server"], request.path["volume"])
    return Reply(202)


def find_all(server_id: str) -> list[BlockDevice]:
    """Return the volumes of a server.

    Raises:
        HttpError: 404.
    """
    server = lookup.get(server_id)
    if isinstance(server, BuildRequest):
        return []
    return BlockDevice.find(server.cell, instance=server_id)


def get(server_id: str, volume_id: str) -> BlockDevice:
    """Return one volume of a server.

    Raises:
        HttpError: 404.
    """
    for device in find_all(server_id):
        if device.volume == volume_id:
            return device
    raise HttpError(404, f"Instance {server_id} is not attached to volume {volume_id}.")


def attach(server_id: str, volume_id: str, delete_on_termination: bool) -> BlockDevice:
    """Reserve a volume for a server and have it connected.

    The block device is written first, under the condition that the server is not being deleted;
    whoever deletes it later finds the block device, and with it the reservation.

    Raises:
        HttpError: 400, the volume is not there or not free; 404; 409, not in the present state;
            503, the volume service is down.
    """
    instance = _ready(server_id, "attach_volume")
    asked = InstanceAction.starting(server_id, "attach_volume")
    failed = InstanceAction.finishing(server_id, "attach_volume", "Error")
    try:
        device = BlockDevice.create(
            instance.cell, server_id, volume_id, "", delete_on_termination, also=asked
        )
    except InstanceNotFound:
        raise not_found("Instance", server_id) from None
    except VolumeInUse as error:
        raise HttpError(400, f"Invalid volume: {error}") from None
    try:
        attachment = volumes.create_attachment(server_id, volume_id)
    except (BadRequest, NotFound) as error:
        device.destroy(also=failed)
        raise HttpError(400, f"Invalid volume: {error}") from None
    except Unreachable as error:
        # Reserved or not: the compute gives back what there is, as soon as it can.
        device.save(state=DeviceState.DETACHING, also=failed)
        ComputeRpc.detach_volume(instance, device.id)
        raise HttpError(503, str(error)) from None
    reserved = reservations.note(device, attachment)
    if reserved is None:  # the server was deleted meanwhile
        raise not_found("Instance", server_id)
    ComputeRpc.attach_volume(instance, reserved.id)
    return reserved


def update(server_id: str, volume_id: str, delete_on_termination: bool) -> None:
    """Change whether a volume ends with its server.

    Raises:
        HttpError: 404.
    """
    get(server_id, volume_id).save(delete_on_termination=delete_on_termination)


def detach(server_id: str, volume_id: str) -> None:
    """Have a volume disconnected and given back; from now on it does not end with its server.

    Raises:
        HttpError: 404; 409, not in the present state.
    """
    instance = _ready(server_id, "detach_volume")
    device = get(server_id, volume_id)
    asked = InstanceAction.starting(server_id, "detach_volume")
    if device.save(state=DeviceState.DETACHING, also=asked) is None:
        raise HttpError(404, f"Instance {server_id} is not attached to volume {volume_id}.")
    ComputeRpc.detach_volume(instance, device.id)


def resume() -> None:
    """Have every attach and detach that is not finished done; for start-up.

    A reservation whose server is gone belonged to a request that died with this process.
    """
    for cell in databases.cells()[1:]:
        for state in (DeviceState.ATTACHING, DeviceState.DETACHING):
            for device in BlockDevice.find(cell, state=state):
                instance = Instance.get(cell, device.instance)
                if instance and instance.host and instance.vm_state != Vm.BUILDING:
                    if state == DeviceState.ATTACHING:
                        ComputeRpc.attach_volume(instance, device.id)
                    else:
                        ComputeRpc.detach_volume(instance, device.id)
    # Attachments first: who has one made now, by another API, is known by the next look.
    found = volumes.all_attachments()
    known = {request.instance for request in BuildRequest.find()}
    known |= {instance.uuid for cell in databases.cells() for instance in Instance.find(cell)}
    for attachment, owner in found.items():
        if owner not in known:
            volumes.delete_attachment(attachment)


def _ready(server_id: str, action: str) -> Instance:
    instance = lookup.get_placed(server_id)
    lookup.see_that_it_is_not_locked(instance)
    busy = instance.task_state in MOVE_TASKS | {Task.DELETING}
    if instance.vm_state not in (Vm.ACTIVE, Vm.STOPPED, Vm.RESIZED) or busy:
        raise HttpError(
            409,
            f"Cannot '{action}' instance {server_id} while it is in vm_state {instance.vm_state},"
            f" task_state {instance.task_state}",
        )
    return instance


def _view(device: BlockDevice) -> dict[str, Any]:
    return {
        "id": device.volume,
        "volumeId": device.volume,
        "serverId": device.instance,
        "device": device.device,
        "tag": None,
        "delete_on_termination": device.delete_on_termination,
        "attachment_id": device.attachment or None,
        "bdm_uuid": device.id,
    }
