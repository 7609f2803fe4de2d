"""Availability zones."""

from __future__ import annotations

from typing import Any

from targets.reference.nova import aggregates, services
from targets.reference.nova.api.router import Router
from targets.reference.nova.services import Service
from targets.reference.web import Request

router = Router()


@router.route("GET", "/os-availability-zone", "os-availability-zone:list")
def list_short(_: Request) -> dict[str, Any]:
    """List the zones, and whether there is an enabled host in each."""
    found = [
        {"zoneName": zone, "zoneState": {"available": available}, "hosts": None}
        for zone, available, _ in _zones()
    ]
    return {"availabilityZoneInfo": found}


@router.route("GET", "/os-availability-zone/detail", "os-availability-zone:detail")
def list_detail(_: Request) -> dict[str, Any]:
    """List the zones with their hosts."""
    listening = services.listening()
    found = [
        {
            "zoneName": zone,
            "zoneState": {"available": available},
            "hosts": {
                one.host: {
                    one.binary: {
                        "available": one.is_up(listening),
                        "active": not one.disabled,
                        "updated_at": one.updated_at,
                    }
                }
                for one in hosts
            },
        }
        for zone, available, hosts in _zones()
    ]
    return {"availabilityZoneInfo": found}


def _zones() -> list[tuple[str, bool, list[Service]]]:
    named = aggregates.zones()
    found: dict[str, list[Service]] = {}
    for service in services.find(binary=services.COMPUTE):
        found.setdefault(named.get(service.host, aggregates.DEFAULT_ZONE), []).append(service)
    return [
        (zone, any(not host.disabled for host in hosts), hosts)
        for zone, hosts in sorted(found.items())
    ]
