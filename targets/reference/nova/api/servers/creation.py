"""Accept new servers."""

from __future__ import annotations

import uuid
from typing import Any

from targets.reference import context
from targets.reference.client import BadRequest, NotFound, ServiceClient, Unreachable
from targets.reference.nova import ports, quotas, volumes
from targets.reference.nova.build_request import BuildRequest, RequestedDevice
from targets.reference.nova.flavors import find as find_flavor
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.quotas import OverQuota
from targets.reference.nova.rpc import ConductorRpc
from targets.reference.web import HttpError

_IMAGES = ServiceClient("image")


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
    try:
        for device in request.devices:
            volumes.create_attachment(request.instance, device.volume)
    except (BadRequest, NotFound) as error:
        _withdraw(request.instance)
        raise HttpError(400, f"Block Device Mapping is Invalid: {error}") from None
    except Unreachable as error:
        InstanceMapping.queue_for_delete(request.instance)
        BuildRequest.destroy(request.instance)
        raise HttpError(503, str(error)) from None
    finally:
        # Also after a failure, and after a delete that was faster: the conductor cleans up.
        ConductorRpc.build_instance(request.instance)
    return request.instance


def _withdraw(server_id: str) -> None:
    InstanceMapping.queue_for_delete(server_id)
    if BuildRequest.destroy(server_id):
        for attachment in volumes.attachments_of(server_id).values():
            volumes.delete_attachment(attachment)


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
    try:
        quotas.check_instances(caller.project_id, 1, flavor.vcpus, flavor.ram)
    except OverQuota as error:
        raise HttpError(403, str(error)) from None
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
