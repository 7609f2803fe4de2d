"""What users do with servers, except deleting them (see :mod:`targets.reference.nova.deletion`)."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from targets.reference import context
from targets.reference.client import BadRequest, NotFound, ServiceClient, Unreachable
from targets.reference.nova import databases, deletion, ports, volumes
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.build_request import BuildRequest, RequestedDevice
from targets.reference.nova.flavors import find as find_flavor
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import (
    ALLOW_HARD_REBOOT,
    ALLOW_SOFT_REBOOT,
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Reboot,
    Task,
    Vm,
)
from targets.reference.web import HttpError, not_found

LOG = logging.getLogger(__name__)
QUOTA_INSTANCES = 100
_IMAGES = ServiceClient("image")

SOFT_REBOOT_FROM = {None, Task.REBOOTING, Task.REBOOT_PENDING, Task.REBOOT_STARTED}
HARD_REBOOT_FROM = {None, *SOFT_REBOOT_TASKS, *HARD_REBOOT_TASKS}


def get(server_id: str) -> BuildRequest | Instance:
    """Return a server.

    Raises:
        HttpError: 404.
    """
    found = deletion.find(server_id)
    if found is None:
        raise not_found("Instance", server_id)
    return found


def get_placed(server_id: str) -> Instance:
    """Return a server that is on a host.

    Raises:
        HttpError: 404; 409, it is not that far.
    """
    found = get(server_id)
    if isinstance(found, BuildRequest) or not found.host:
        raise HttpError(409, f"Instance {server_id} is not ready.")
    return found


def find_all() -> list[BuildRequest | Instance]:
    """Return all servers, each once, the latest first."""
    # In the order in which a server moves, so that none is missed.
    waiting = {request.instance: request for request in BuildRequest.find()}
    placed = [
        instance
        for cell in databases.cells()
        for instance in Instance.find(cell, hidden=False)
        if instance.uuid not in waiting
    ]
    found: list[BuildRequest | Instance] = [*waiting.values(), *placed]
    return sorted(found, key=lambda record: record.created_at, reverse=True)


def create(body: dict[str, Any]) -> str:
    """Accept a new server and return its id.

    The build request is written first: it is what a delete finds, and what is taken up again when
    this process dies before it has told the conductor.

    Raises:
        HttpError: 400, something it needs is not there or not free; 403, the quota is used up; 503,
            a service that must be asked is down.
    """
    try:
        request = _request(body)
    except Unreachable as error:
        raise HttpError(503, str(error)) from None
    request.create()
    InstanceMapping.create(request.instance, request.project_id)
    try:
        for device in request.devices:
            volumes.create_attachment(request.instance, device.volume)
    except (BadRequest, NotFound) as error:
        _withdraw(request.instance)
        raise HttpError(400, f"Block Device Mapping is Invalid: {error}") from None
    except Unreachable as error:
        BuildRequest.destroy(request.instance)
        raise HttpError(503, str(error)) from None
    finally:
        # Also after a failure, and after a delete that was faster: the conductor cleans up.
        ConductorRpc.build_instance(request.instance)
    return request.instance


def reboot(server_id: str, kind: str) -> None:
    """Have a server rebooted, SOFT or HARD.

    Raises:
        HttpError: 400, no such kind; 404; 409, not in its present state.
    """
    if kind not in (Reboot.SOFT, Reboot.HARD):
        raise HttpError(400, f"Argument 'type' for reboot is not HARD or SOFT: {kind!r}")
    soft = kind == Reboot.SOFT
    instance = _in_state(server_id, ALLOW_SOFT_REBOOT if soft else ALLOW_HARD_REBOOT, "reboot")
    _begin(
        instance,
        "reboot",
        Task.REBOOTING if soft else Task.REBOOTING_HARD,
        SOFT_REBOOT_FROM if soft else HARD_REBOOT_FROM,
    )
    ComputeRpc.reboot(instance, kind)


def start(server_id: str) -> None:
    """Have a stopped server started.

    Raises:
        HttpError: 404; 409, it is not stopped.
    """
    instance = _in_state(server_id, frozenset({Vm.STOPPED}), "start")
    _begin(instance, "start", Task.POWERING_ON, {None})
    ComputeRpc.start(instance)


def stop(server_id: str) -> None:
    """Have a running server shut down.

    Raises:
        HttpError: 404; 409, it is not running.
    """
    instance = _in_state(server_id, frozenset({Vm.ACTIVE, Vm.ERROR}), "stop")
    _begin(instance, "stop", Task.POWERING_OFF, {None})
    ComputeRpc.stop(instance)


def resume() -> None:
    """Tell the computes again what they may not have been told; for start-up.

    A task state that only the API sets says that a compute has not begun yet.
    """
    for cell in databases.cells()[1:]:
        for instance in Instance.find(cell):
            if not instance.host:
                continue
            LOG.debug("%s: task %s", instance.uuid, instance.task_state)
            match instance.task_state:
                case Task.REBOOTING:
                    ComputeRpc.reboot(instance, Reboot.SOFT)
                case Task.REBOOTING_HARD:
                    ComputeRpc.reboot(instance, Reboot.HARD)
                case Task.POWERING_ON:
                    ComputeRpc.start(instance)
                case Task.POWERING_OFF:
                    ComputeRpc.stop(instance)


def _withdraw(server_id: str) -> None:
    if BuildRequest.destroy(server_id):
        for attachment in volumes.attachments_of(server_id).values():
            volumes.delete_attachment(attachment)


def _in_state(server_id: str, allowed: frozenset[Vm], action: str) -> Instance:
    instance = get_placed(server_id)
    if instance.vm_state not in allowed:
        raise HttpError(
            409,
            f"Cannot '{action}' instance {server_id} while it is in vm_state {instance.vm_state}",
        )
    return instance


def _begin(instance: Instance, action: str, task: Task, allowed: set[Task | None]) -> None:
    try:
        instance.save(task_state=task, expected_task_state=allowed)
    except InstanceNotFound:
        raise not_found("Instance", instance.uuid) from None
    except UnexpectedTaskState as error:
        raise HttpError(409, f"Cannot '{action}' instance {instance.uuid}: {error}") from None
    InstanceAction.start(instance.cell, instance.uuid, action)


def _request(body: dict[str, Any]) -> BuildRequest:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise HttpError(400, "Invalid input for field/attribute name. It must be a string.")
    flavor = find_flavor(str(body.get("flavorRef", "")))
    if flavor is None:
        raise HttpError(400, "Invalid flavorRef provided.")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise HttpError(400, "Invalid input for field/attribute metadata: strings are wanted.")
    caller = context.current()
    if len(InstanceMapping.find(project_id=caller.project_id, queued_for_delete=False)) >= (
        QUOTA_INSTANCES
    ):
        raise HttpError(403, "Quota exceeded for instances.")
    return BuildRequest(
        instance=str(uuid.uuid4()),
        name=name,
        project_id=caller.project_id,
        user_id=caller.user_id,
        image=_image(str(body.get("imageRef") or "")),
        flavor=flavor.name,
        vcpus=flavor.vcpus,
        ram=flavor.ram,
        disk=flavor.disk,
        metadata=metadata,
        requested_networks=_networks(body.get("networks", "auto")),
        devices=_devices(body.get("block_device_mapping_v2") or []),
    )


def _image(reference: str) -> str:
    if not reference:
        return ""
    image = reference.rstrip("/").rpartition("/")[2]
    try:
        _IMAGES.get(f"/v2/images/{image}")
    except NotFound:
        raise HttpError(400, f"Can not find requested image {image}") from None
    return image


def _networks(wanted: Any) -> tuple[str, ...]:
    """Return the ports that are wanted: '' for one to be made."""
    if wanted == "none":
        return ()
    if wanted == "auto" or wanted == [] or wanted is None:
        return ("",)
    if not isinstance(wanted, list) or any(not isinstance(network, dict) for network in wanted):
        raise HttpError(400, "Invalid input for field/attribute networks.")
    given = tuple(str(network.get("port") or "") for network in wanted)
    for port in filter(None, given):
        try:
            free = ports.is_free(port)
        except NotFound:
            raise HttpError(400, f"Port id {port} could not be found.") from None
        if not free:
            raise HttpError(409, f"Port {port} is still in use.")
    return given


def _devices(wanted: Any) -> tuple[RequestedDevice, ...]:
    if not isinstance(wanted, list) or any(not isinstance(device, dict) for device in wanted):
        raise HttpError(400, "Invalid input for field/attribute block_device_mapping_v2.")
    devices = []
    for device in wanted:
        if device.get("source_type") == "image":
            continue
        if device.get("source_type") != "volume" or not device.get("uuid"):
            raise HttpError(
                400, "Block Device Mapping is Invalid: only existing volumes are known."
            )
        keep = not device.get("delete_on_termination", False)
        devices.append(RequestedDevice(str(device["uuid"]), delete_on_termination=not keep))
    return tuple(devices)
