"""How servers and what belongs to them look to a client: Nova's own shapes."""

from __future__ import annotations

import hashlib
from typing import Any

from targets.reference.nova.action import last_fault
from targets.reference.nova.api.router import url
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import (
    ALLOW_HARD_REBOOT,
    HARD_REBOOT_TASKS,
    REBUILD_TASKS,
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
    return _STATUS[vm_state]


def server(record: BuildRequest | Instance, request: Request) -> dict[str, Any]:
    """Show a server, from its build request or its instance."""
    if isinstance(record, BuildRequest):
        return _view(
            record, record.instance, record.metadata, request, Vm.BUILDING, Task.SCHEDULING
        )
    view = _view(record, record.uuid, record.meta, request, record.vm_state, record.task_state)
    devices = BlockDevice.find(record.cell, instance=record.uuid)
    view |= {
        "updated": record.updated_at,
        "hostId": _host_id(record),
        "OS-EXT-SRV-ATTR:host": record.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": record.host,
        "OS-EXT-STS:power_state": int(record.power_state),
        "OS-SRV-USG:launched_at": record.launched_at,
        "OS-EXT-AZ:availability_zone": "nova" if record.host else "",
        "progress": 100 if record.vm_state == Vm.ACTIVE else 0,
        "addresses": _addresses(record.ports),
        "os-extended-volumes:volumes_attached": [
            {"id": device.volume, "delete_on_termination": device.delete_on_termination}
            for device in devices
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


def _view(
    record: BuildRequest | Instance,
    uuid: str,
    metadata: dict[str, str],
    request: Request,
    vm_state: Vm,
    task_state: Task | None,
) -> dict[str, Any]:
    return {
        "id": uuid,
        "name": record.name,
        "status": status(vm_state, task_state),
        "tenant_id": record.project_id,
        "user_id": record.user_id,
        "metadata": metadata,
        "hostId": "",
        "image": {"id": record.image, "links": []} if record.image else "",
        "flavor": {
            "original_name": record.flavor,
            "vcpus": record.vcpus,
            "ram": record.ram,
            "disk": record.disk,
            "ephemeral": 0,
            "swap": 0,
            "extra_specs": {},
        },
        "created": record.created_at,
        "updated": record.created_at,
        "addresses": {},
        "accessIPv4": "",
        "accessIPv6": "",
        "links": _links(request, uuid),
        "OS-DCF:diskConfig": "MANUAL",
        "progress": 0,
        "OS-EXT-AZ:availability_zone": "",
        "config_drive": "",
        "key_name": None,
        "OS-SRV-USG:launched_at": None,
        "OS-SRV-USG:terminated_at": None,
        "security_groups": [],
        "description": None,
        "tags": [],
        "locked": False,
        "os-extended-volumes:volumes_attached": [],
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": task_state,
        "OS-EXT-STS:power_state": int(Power.NOSTATE),
        "OS-EXT-SRV-ATTR:host": None,
        "OS-EXT-SRV-ATTR:instance_name": record.name,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": None,
    }


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
                "version": 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": port["mac"],
            }
        )
    return shown


def _links(request: Request, uuid: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": url(request, "servers", uuid)}]
