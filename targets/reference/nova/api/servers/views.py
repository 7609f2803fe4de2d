"""How servers and what belongs to them look to a client: Nova's own shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from targets.reference.nova import aggregates, flavors
from targets.reference.nova.action import last_fault
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import url
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.attributes import of_flavor
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.states import (
    ALLOW_HARD_REBOOT,
    HARD_REBOOT_TASKS,
    REBUILD_TASKS,
    RESIZE_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Task,
    Vm,
)
from targets.reference.web import Request

_STATUS = {
    Vm.BUILDING: "BUILD",
    Vm.ACTIVE: "ACTIVE",
    Vm.STOPPED: "SHUTOFF",
    Vm.PAUSED: "PAUSED",
    Vm.SHELVED: "SHELVED",
    Vm.SHELVED_OFFLOADED: "SHELVED_OFFLOADED",
    Vm.SOFT_DELETED: "SOFT_DELETED",
    Vm.RESIZED: "VERIFY_RESIZE",
    Vm.ERROR: "ERROR",
    Vm.DELETED: "DELETED",
}


def status(vm_state: Vm, task_state: Task | None) -> str:
    """Return the one word that users know a server's state by."""
    if vm_state in (Vm.ACTIVE, Vm.STOPPED) and task_state in SOFT_REBOOT_TASKS:
        return "REBOOT"
    if vm_state in ALLOW_HARD_REBOOT and task_state in HARD_REBOOT_TASKS:
        return "HARD_REBOOT"
    if vm_state in (Vm.ACTIVE, Vm.STOPPED, Vm.ERROR) and task_state in REBUILD_TASKS:
        return "REBUILD"
    if task_state in RESIZE_TASKS:
        return "RESIZE"
    if task_state == Task.RESIZE_REVERTING:
        return "REVERT_RESIZE"
    return _STATUS[vm_state]


def server(record: BuildRequest | Instance, request: Request) -> dict[str, Any]:
    """Show a server, from its build request or its instance."""
    version = microversion.of(request)
    view = _common(record, request, version)
    if isinstance(record, BuildRequest):
        return view
    view |= {
        "updated": record.updated_at,
        "hostId": _host_id(record),
        "OS-EXT-SRV-ATTR:host": record.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": record.host,
        "OS-EXT-STS:power_state": int(record.power_state),
        "OS-SRV-USG:launched_at": record.launched_at,
        "OS-EXT-AZ:availability_zone": _zone(record),
        "progress": 100 if record.vm_state == Vm.ACTIVE else 0,
        "addresses": _addresses(record.ports),
        "os-extended-volumes:volumes_attached": [
            {"id": device.volume, "delete_on_termination": device.delete_on_termination}
            if version >= 3
            else {"id": device.volume}
            for device in BlockDevice.find(record.cell, instance=record.uuid)
        ],
    }
    fault = last_fault(record.cell, record.uuid) if record.vm_state == Vm.ERROR else None
    if fault:
        view["fault"] = {"code": 500, "message": fault[0], "created": fault[1]}
    return view


def short(record: BuildRequest | Instance, request: Request) -> dict[str, Any]:
    """Show a server in the short listing."""
    uuid = lookup.id_of(record)
    return {"id": uuid, "name": record.name, "links": _links(request, uuid)}


def of_down_cell(mapping: InstanceMapping, request: Request) -> dict[str, Any]:
    """Show what is known of a server whose cell cannot be asked, from 2.69 on."""
    return {
        "id": mapping.instance,
        "tenant_id": mapping.project_id,
        "status": "UNKNOWN",
        "links": _links(request, mapping.instance),
    }


def _common(record: BuildRequest | Instance, request: Request, version: int) -> dict[str, Any]:
    uuid = lookup.id_of(record)
    vm_state = record.vm_state if isinstance(record, Instance) else Vm.BUILDING
    task_state = record.task_state if isinstance(record, Instance) else Task.SCHEDULING
    said = record.attributes
    view: dict[str, Any] = {
        "id": uuid,
        "name": record.name,
        "status": status(vm_state, task_state),
        "tenant_id": record.project_id,
        "user_id": record.user_id,
        "metadata": record.meta if isinstance(record, Instance) else record.metadata,
        "hostId": "",
        "image": _image(record, request),
        "flavor": _flavor(record, request, version),
        "created": record.created_at,
        "updated": record.created_at,
        "addresses": {},
        "accessIPv4": said.access_ipv4,
        "accessIPv6": said.access_ipv6,
        "links": _links(request, uuid),
        "OS-DCF:diskConfig": said.disk_config,
        "OS-EXT-AZ:availability_zone": "",
        "config_drive": "True" if said.config_drive else "",
        "key_name": said.key_name,
        "OS-SRV-USG:launched_at": None,
        "OS-SRV-USG:terminated_at": None,
        "security_groups": [{"name": group} for group in said.security_groups],
        "os-extended-volumes:volumes_attached": [],
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": task_state,
        "OS-EXT-STS:power_state": int(Power.NOSTATE),
        "OS-EXT-SRV-ATTR:host": None,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{uuid[:8]}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": None,
    }
    if view["status"] in ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"):
        view["progress"] = 0
    for since, more in _SINCE:
        if version >= since:
            view |= more(record)
    return view


def _extended(record: BuildRequest | Instance) -> dict[str, Any]:
    said = record.attributes
    return {
        "OS-EXT-SRV-ATTR:hostname": said.hostname,
        "OS-EXT-SRV-ATTR:reservation_id": said.reservation_id,
        "OS-EXT-SRV-ATTR:launch_index": said.launch_index,
        "OS-EXT-SRV-ATTR:kernel_id": "",
        "OS-EXT-SRV-ATTR:ramdisk_id": "",
        "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
        "OS-EXT-SRV-ATTR:user_data": said.user_data,
    }


_SINCE: tuple[tuple[int, Callable[[BuildRequest | Instance], dict[str, Any]]], ...] = (
    (3, _extended),
    (9, lambda record: {"locked": record.attributes.locked}),
    (16, lambda record: {"host_status": "UP" if getattr(record, "host", None) else ""}),
    (19, lambda record: {"description": record.attributes.description}),
    (26, lambda record: {"tags": list(record.tags)}),
    (
        63,
        lambda record: {"trusted_image_certificates": record.attributes.trusted_image_certificates},
    ),
    (
        71,
        lambda record: {
            "server_groups": [record.attributes.group] if record.attributes.group else []
        },
    ),
    (73, lambda record: {"locked_reason": record.attributes.locked_reason}),
    (96, lambda record: {"pinned_availability_zone": record.attributes.availability_zone}),
)
"""What a server shows from a microversion on."""


def _image(record: BuildRequest | Instance, request: Request) -> Any:
    if not record.image:
        return ""
    bookmark = {"rel": "bookmark", "href": f"{request.base}/images/{record.image}"}
    return {"id": record.image, "links": [bookmark]}


def _flavor(record: BuildRequest | Instance, request: Request, version: int) -> dict[str, Any]:
    said = record.attributes.flavor
    if said.get("name") != record.flavor:  # resized since
        found = flavors.find(record.flavor)
        said = of_flavor(found) if found else {}
    if version < 47:
        key = said.get("id", record.flavor)
        bookmark = {"rel": "bookmark", "href": f"{request.base}/flavors/{key}"}
        return {"id": key, "links": [bookmark]}
    return {
        "original_name": record.flavor,
        "vcpus": record.vcpus,
        "ram": record.ram,
        "disk": record.disk,
        "ephemeral": said.get("ephemeral", 0),
        "swap": said.get("swap", 0),
        "extra_specs": said.get("extra_specs", {}),
    }


def _zone(record: Instance) -> str:
    if not record.host:
        return ""
    return aggregates.zones().get(record.host, aggregates.DEFAULT_ZONE)


def _host_id(record: Instance) -> str:
    if not record.host:
        return ""
    return hashlib.sha224((record.project_id + record.host).encode()).hexdigest()


def _addresses(ports: list[dict[str, str]]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for port in ports:
        shown.setdefault(port["network"], []).append(
            {
                "addr": port["ip"],
                "version": 6 if ":" in port["ip"] else 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": port["mac"],
            }
        )
    return shown


def _links(request: Request, uuid: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": url(request, "servers", uuid)},
        {"rel": "bookmark", "href": f"{request.base}/servers/{uuid}"},
    ]
