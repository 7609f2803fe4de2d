"""Hypervisors: the hosts, what they have and what of it is used."""

from __future__ import annotations

from typing import Any

from targets.reference.bus import BusUnreachable
from targets.reference.nova import hosts, services
from targets.reference.nova.api import microversion
from targets.reference.nova.api.paging import page
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.hosts import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.services import Service
from targets.reference.nova.states import Power
from targets.reference.schema import as_boolean, read_query
from targets.reference.web import HttpError, Request

router = Router()
Named = dict[str, tuple[Service, bool]]
"""Host: its compute's record, and whether it is up."""


@router.route("GET", "/os-hypervisors", "os-hypervisors:list")
def list_short(request: Request) -> dict[str, Any]:
    """List hypervisors by name."""
    return _list(request, detail=False)


@router.route("GET", "/os-hypervisors/detail", "os-hypervisors:list-detail")
def list_detail(request: Request) -> dict[str, Any]:
    """List hypervisors."""
    return _list(request, detail=True)


@router.route("GET", "/os-hypervisors/statistics", "os-hypervisors:statistics", until=87)
def statistics(request: Request) -> dict[str, Any]:
    """Add up what all hosts have."""
    found = [_capacity(host) for host in hosts.find()]
    names = found[0] if found else {}
    total = {name: sum(host[name] for host in found) for name in names}
    return {"hypervisor_statistics": {"count": len(found), **total}}


@router.route("GET", "/os-hypervisors/{hypervisor}/search", "os-hypervisors:search", until=52)
def search(request: Request) -> dict[str, Any]:
    """List the hypervisors whose names hold a text."""
    return {"hypervisors": _search(request, servers=False)}


@router.route("GET", "/os-hypervisors/{hypervisor}/servers", "os-hypervisors:servers", until=52)
def servers(request: Request) -> dict[str, Any]:
    """The same, with the servers on each."""
    return {"hypervisors": _search(request, servers=True)}


@router.route("GET", "/os-hypervisors/{hypervisor}/uptime", "os-hypervisors:uptime", until=87)
def uptime(request: Request) -> dict[str, Any]:
    """Show how long a hypervisor has been up: nobody knows."""
    return {"hypervisor": _short(_get(request), _computes(), request) | {"uptime": None}}


@router.route("GET", "/os-hypervisors/{hypervisor}", "os-hypervisors:show")
def show(request: Request) -> dict[str, Any]:
    """Show one hypervisor."""
    with_servers = _with_servers(request)
    return {"hypervisor": _view(_get(request), _computes(), request, with_servers)}


def _list(request: Request, detail: bool) -> dict[str, Any]:
    version, computes = microversion.of(request), _computes()
    pattern = request.query.get("hypervisor_hostname_pattern") if version >= 53 else None
    with_servers = _with_servers(request)
    found = [host for host in hosts.find() if pattern is None or pattern in host.host]
    if pattern is not None and not found:
        raise HttpError(404, f"No hypervisor matching '{pattern}' could be found.")
    links: dict[str, Any] = {}
    if version >= 33:
        where = url(request, "os-hypervisors", *(("detail",) if detail else ()))
        found, links = page(request, found, lambda h: _id(h, request), where, "hypervisors")
    if detail:
        views = [_view(host, computes, request, with_servers) for host in found]
    else:
        views = [_short(host, computes, request) for host in found]
        if with_servers:
            for host, view in zip(found, views, strict=True):
                view["servers"] = _servers_on(host)
    return {"hypervisors": views, **links}


def _search(request: Request, *, servers: bool) -> list[dict[str, Any]]:
    text, computes = request.path["hypervisor"], _computes()
    found = [host for host in hosts.find() if text in host.host]
    if not found:
        raise HttpError(404, f"No hypervisor matching '{text}' could be found.")
    views = [_short(host, computes, request) for host in found]
    for host, view in zip(found, views, strict=True):
        if servers and (on_host := _servers_on(host)):
            view["servers"] = on_host
    return views


def _with_servers(request: Request) -> bool:
    if microversion.of(request) < 53:
        return False
    return bool(read_query(request, "with_servers", as_boolean, False))


def _computes() -> Named:
    try:
        listening = services.listening()
    except BusUnreachable:
        listening = ()
    found = services.find(binary=services.COMPUTE)
    return {service.host: (service, service.is_up(listening)) for service in found}


def _get(request: Request) -> Host:
    key = request.path["hypervisor"]
    for host in hosts.find():
        if _id(host, request) == key:
            return host
    raise HttpError(404, f"Hypervisor with ID '{key}' could not be found.")


def _id(host: Host, request: Request) -> str:
    if microversion.of(request) >= 53:
        return host.uuid
    return str(1 + [known.host for known in hosts.find()].index(host.host))


def _servers_on(host: Host) -> list[dict[str, str]]:
    return [
        {"name": instance.name, "uuid": instance.uuid}
        for instance in Instance.find(host.cell, host=host.host, hidden=False)
    ]


def _short(host: Host, computes: Named, request: Request) -> dict[str, Any]:
    key = _id(host, request)
    service, up = computes.get(host.host, (None, False))
    return {
        "id": key if microversion.of(request) >= 53 else int(key),
        "hypervisor_hostname": host.host,
        "state": "up" if up else "down",
        "status": "disabled" if service is None or service.disabled else "enabled",
    }


def _view(host: Host, computes: Named, request: Request, with_servers: bool) -> dict[str, Any]:
    version = microversion.of(request)
    service, _ = computes.get(host.host, (None, False))
    cpu = {"arch": "x86_64", "model": "reference", "topology": {"cores": host.vcpus, "sockets": 1}}
    key = "" if service is None else service.uuid if version >= 53 else service.id
    view = _short(host, computes, request) | {
        "host_ip": "127.0.0.1",
        "hypervisor_type": "fake",
        "hypervisor_version": 1000,
        "service": {
            "host": host.host,
            "id": key,
            "disabled_reason": service.disabled_reason if service else None,
        },
    }
    if version >= 88:
        view["uptime"] = None
    else:
        view |= _capacity(host) | {"cpu_info": cpu if version >= 28 else str(cpu)}
    if with_servers:
        view["servers"] = _servers_on(host)
    return view


def _capacity(host: Host) -> dict[str, int]:
    on_host = Instance.find(host.cell, host=host.host)
    return {
        "vcpus": host.vcpus,
        "vcpus_used": host.vcpus_used,
        "memory_mb": host.ram,
        "memory_mb_used": host.ram_used,
        "free_ram_mb": host.ram - host.ram_used,
        "local_gb": host.disk,
        "local_gb_used": host.disk_used,
        "free_disk_gb": host.disk - host.disk_used,
        "disk_available_least": host.disk - host.disk_used,
        "current_workload": sum(1 for instance in on_host if instance.task_state),
        "running_vms": sum(1 for i in on_host if i.power_state == Power.RUNNING),
    }
