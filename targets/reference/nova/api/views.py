"""How servers and what belongs to them look to a client: Nova's own shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from targets.reference.nova.action import InstanceAction, last_fault
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.flavors import Flavor
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import (
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Task,
    Vm,
)

_STATUS = {
    Vm.BUILDING: "BUILD",
    Vm.ACTIVE: "ACTIVE",
    Vm.STOPPED: "SHUTOFF",
    Vm.ERROR: "ERROR",
    Vm.DELETED: "DELETED",
}


def status(vm_state: Vm, task_state: Task | None) -> str:
    """Return the one word that users know a server's state by."""
    if vm_state in (Vm.ACTIVE, Vm.STOPPED) and task_state in SOFT_REBOOT_TASKS:
        return "REBOOT"
    if vm_state in (Vm.ACTIVE, Vm.STOPPED, Vm.ERROR) and task_state in HARD_REBOOT_TASKS:
        return "HARD_REBOOT"
    return _STATUS[vm_state]


def server(record: BuildRequest | Instance, base: str) -> dict[str, Any]:
    """Show a server, from its build request or its instance."""
    if isinstance(record, BuildRequest):
        return _view(record, record.instance, record.metadata, base, Vm.BUILDING, Task.SCHEDULING)
    view = _view(record, record.uuid, record.meta, base, record.vm_state, record.task_state)
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


def server_link(uuid: str, name: str, base: str) -> dict[str, Any]:
    """Show a server in the short listing."""
    return {"id": uuid, "name": name, "links": _links(f"{base}/servers/{uuid}")}


def flavor(shown: Flavor, base: str) -> dict[str, Any]:
    """Show a flavor."""
    return {
        "id": shown.id,
        "name": shown.name,
        "description": None,
        "vcpus": shown.vcpus,
        "ram": shown.ram,
        "disk": shown.disk,
        "swap": 0,
        "rxtx_factor": 1.0,
        "extra_specs": {},
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "links": _links(f"{base}/flavors/{shown.id}"),
    }


def attachment(device: BlockDevice) -> dict[str, Any]:
    """Show a volume of a server."""
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


def action(shown: InstanceAction) -> dict[str, Any]:
    """Show what a request asked of a server."""
    return {
        "action": shown.action,
        "instance_uuid": shown.instance,
        "request_id": shown.request,
        "user_id": shown.user_id,
        "project_id": shown.project_id,
        "start_time": shown.started_at,
        "updated_at": shown.finished_at,
        "message": "Error" if shown.result == "Error" else None,
        "events": [],
    }


def limits(used: Iterable[BuildRequest | Instance], instances: int) -> dict[str, Any]:
    """Show the quota and how much of it is used."""
    counted = list(used)
    return {
        "rate": [],
        "absolute": {
            "maxTotalInstances": instances,
            "maxTotalCores": -1,
            "maxTotalRAMSize": -1,
            "totalInstancesUsed": len(counted),
            "totalCoresUsed": sum(record.vcpus for record in counted),
            "totalRAMUsed": sum(record.ram for record in counted),
        },
    }


def _view(
    record: BuildRequest | Instance,
    uuid: str,
    metadata: dict[str, str],
    base: str,
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
        "links": _links(f"{base}/servers/{uuid}"),
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


def _links(url: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": url}]
