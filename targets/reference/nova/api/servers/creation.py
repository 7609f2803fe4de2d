"""Accept new servers."""

from __future__ import annotations

import re
import secrets
import string
import uuid
from dataclasses import replace
from typing import Any

from targets.reference import context
from targets.reference.client import BadRequest, NotFound, ServiceClient, Unreachable
from targets.reference.nova import aggregates, flavors, ports, quotas, services, volumes
from targets.reference.nova.api.servers.schemas import Device, Hints, Network, NewServer
from targets.reference.nova.attributes import Attributes, of_flavor
from targets.reference.nova.build_request import BuildRequest, RequestedDevice
from targets.reference.nova.flavors import Flavor
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.key_pairs import KeyPair
from targets.reference.nova.quotas import OverQuota
from targets.reference.nova.rpc import ConductorRpc
from targets.reference.nova.server_groups import ServerGroup
from targets.reference.policy import owns
from targets.reference.web import HttpError

_IMAGES = ServiceClient("image")
_RESERVATION = string.ascii_lowercase + string.digits


def create(wanted: NewServer, hints: Hints) -> list[BuildRequest]:
    """Accept one or several new servers and return what is to be built.

    Each build request is written first: it is what a delete finds, and what is taken up again when
    this process dies before it has told the conductor.

    Raises:
        HttpError: 400, something it needs is not there or not free; 403, the quota is used up; 503,
            a service that must be asked is down.
    """
    try:
        requests = _requests(wanted, hints)
    except Unreachable as error:
        raise HttpError(503, str(error)) from None
    for request in requests:
        _accept(request)
    return requests


def _accept(request: BuildRequest) -> None:
    if request.attributes.group:
        ServerGroup.add(request.attributes.group, request.instance)
    try:
        request.create()
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
        # Also after a failure, and after a delete that was faster: the conductor cleans up. Whether
        # the request was written down may not be known here; if it was, it is carried out.
        ConductorRpc.build_instance(request.instance)


def _withdraw(server_id: str) -> None:
    InstanceMapping.queue_for_delete(server_id)
    if BuildRequest.destroy(server_id):
        for attachment in volumes.attachments_of(server_id).values():
            volumes.delete_attachment(attachment)


def _requests(wanted: NewServer, hints: Hints) -> list[BuildRequest]:
    caller = context.current()
    flavor = _flavor(str(wanted.flavorRef))
    count = _count(wanted, flavor)
    devices = _devices(wanted.block_device_mapping_v2)
    boots_from_volume = any(
        device.boot_index == 0 and device.source_type == "volume"
        for device in wanted.block_device_mapping_v2
    )
    image = _image(wanted.imageRef or "")
    if not image and not boots_from_volume:
        raise HttpError(400, "Invalid imageRef provided.")
    networks = _networks(wanted.networks)
    if count > 1 and (devices or any(ports.is_given(port) for port in networks)):
        raise HttpError(400, "Cannot attach one or more volumes, or a port, to multiple instances")
    attributes = _attributes(wanted, flavor, hints, count)
    first = BuildRequest(
        instance=str(uuid.uuid4()),
        name=wanted.name,
        project_id=caller.project_id,
        user_id=caller.user_id,
        image="" if boots_from_volume else image,
        flavor=flavor.name,
        vcpus=flavor.vcpus,
        ram=flavor.ram,
        disk=flavor.disk,
        metadata=dict(wanted.metadata),
        requested_networks=networks,
        devices=devices,
        attributes=attributes,
        tags=tuple(dict.fromkeys(wanted.tags)),
    )
    if count == 1:
        return [first]
    return [
        replace(
            first,
            instance=str(uuid.uuid4()),
            name=f"{wanted.name}-{index + 1}",
            attributes=replace(
                attributes, launch_index=index, hostname=f"{attributes.hostname}-{index + 1}"
            ),
        )
        for index in range(count)
    ]


def _flavor(reference: str) -> Flavor:
    found = flavors.find(reference)
    if found is None:
        raise HttpError(400, "Invalid flavorRef provided.")
    if not found.is_public and not context.current().is_admin:
        project = context.current().project_id
        if project not in flavors.projects(found.id):
            raise HttpError(400, "Invalid flavorRef provided.")
    return found


def _count(wanted: NewServer, flavor: Flavor) -> int:
    """Return how many are made: as many as wanted, or as the quota has room for."""
    project = context.current().project_id
    least, most = wanted.min_count, wanted.max_count or wanted.min_count
    if least > most:
        raise HttpError(400, "min_count must be <= max_count")
    quota = quotas.limits(project)
    if 0 <= quota["metadata_items"] < len(wanted.metadata):
        raise HttpError(403, "Quota exceeded, too many metadata items.")
    if most > max(quota["instances"], 1000):
        most = max(quota["instances"], 1000, least)
    while True:
        try:
            quotas.check_instances(project, most, flavor.vcpus, flavor.ram)
        except OverQuota as error:
            if most <= least:
                raise HttpError(403, str(error)) from None
            most = max(least, most // 2)
        else:
            return most


def _attributes(wanted: NewServer, flavor: Flavor, hints: Hints, count: int) -> Attributes:
    caller = context.current()
    if wanted.key_name and KeyPair.get(caller.user_id, wanted.key_name) is None:
        raise HttpError(400, "Invalid key_name provided.")
    if (wanted.host or wanted.hypervisor_hostname) and not caller.is_admin:
        raise HttpError(
            403, "Policy doesn't allow os_compute_api:compute:servers:create:requested_destination"
            " to be performed.",
        )  # fmt: skip
    named = wanted.security_groups or []
    return Attributes(
        flavor=of_flavor(flavor),
        hostname=wanted.hostname or _hostname(wanted.name),
        description=wanted.description,
        key_name=wanted.key_name,
        user_data=wanted.user_data,
        config_drive=bool(wanted.config_drive),
        access_ipv4=wanted.accessIPv4,
        access_ipv6=wanted.accessIPv6,
        disk_config=wanted.disk_config,
        availability_zone=_zone(wanted.availability_zone),
        group=_group(hints.group, count),
        security_groups=[group.name for group in named] or ["default"],
        reservation_id="r-" + "".join(secrets.choice(_RESERVATION) for _ in range(8)),
        trusted_image_certificates=wanted.trusted_image_certificates,
    )


def _hostname(name: str) -> str:
    """Make a name of the letters that one of a host may have."""
    found = re.sub(r"[^a-z0-9\-.]", "", re.sub(r"[ _]", "-", name.lower())).strip("-.")
    return found[:63] or "server"


def _zone(wanted: str | None) -> str | None:
    if not wanted:
        return None
    zone, _, host = wanted.partition(":")
    if host and not context.current().is_admin:
        raise HttpError(
            403, "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed."
        )
    if zone and zone not in {aggregates.DEFAULT_ZONE, *aggregates.zones().values()}:
        raise HttpError(400, "The requested availability zone is not available")
    if host and not services.find(binary=services.COMPUTE, host=host.partition(":")[0]):
        raise HttpError(400, f"Compute host {host} could not be found.")
    return wanted


def _group(wanted: str | None, count: int) -> str | None:
    if wanted is None:
        return None
    group = ServerGroup.get(wanted)
    if group is None or not owns(group.project_id):
        raise HttpError(400, f"Instance group {wanted} could not be found.")
    most = quotas.limits(group.project_id)["server_group_members"]
    if 0 <= most < len(group.members) + count:
        raise HttpError(403, "Quota exceeded, too many servers in group")
    return wanted


def _image(reference: str) -> str:
    if not reference:
        return ""
    image = reference.rstrip("/").rpartition("/")[2]
    try:
        found = _IMAGES.get(f"/v2/images/{image}")
    except (BadRequest, NotFound):
        raise HttpError(400, f"Can not find requested image {image}") from None
    if found["status"] != "active":
        raise HttpError(400, f"Image {image} is not active.")
    return str(found["id"])


def _networks(wanted: list[Network] | str | None) -> tuple[str, ...]:
    """Return the ports that are wanted: '' for one to be made."""
    if wanted == "none":
        return ()
    if not isinstance(wanted, list) or not wanted:
        return ("",)
    return tuple(_port(network) for network in wanted)


def _port(wanted: Network) -> str:
    if wanted.port:
        try:
            free = ports.is_free(wanted.port)
        except NotFound:
            raise HttpError(400, f"Port id {wanted.port} could not be found.") from None
        if not free:
            raise HttpError(409, f"Port {wanted.port} is still in use.")
        return wanted.port
    if not wanted.uuid:
        raise HttpError(400, "Bad networks format: network uuid is missing.")
    if not ports.network_exists(wanted.uuid):
        raise HttpError(400, f"Network {wanted.uuid} could not be found.")
    return ports.on_network(wanted.uuid)


def _devices(wanted: list[Device]) -> tuple[RequestedDevice, ...]:
    indexes = [device.boot_index for device in wanted if (device.boot_index or -1) >= 0]
    if len({*indexes}) != len(indexes):
        raise HttpError(400, "Block Device Mapping is Invalid: Boot sequence for the instance and"
                        " image/block device mapping combination is not valid.")  # fmt: skip
    found: list[RequestedDevice] = []
    for device in wanted:
        if device.source_type == "image" and device.destination_type != "volume":
            continue
        if device.source_type != "volume" or not device.uuid:
            raise HttpError(
                400, "Block Device Mapping is Invalid: only existing volumes are known."
            )
        found.append(RequestedDevice(device.uuid, device.delete_on_termination))
    return tuple(found)


def told(requests: list[BuildRequest], url: str) -> dict[str, Any]:
    """Return what the client is told of the first of the new servers."""
    first = requests[0]
    groups = first.attributes.security_groups
    return {
        "id": first.instance,
        "links": [{"rel": "self", "href": url}],
        "OS-DCF:diskConfig": first.attributes.disk_config,
        "security_groups": [{"name": group} for group in groups],
        "adminPass": secrets.token_urlsafe(9),
    }
