"""Availability zones."""

from __future__ import annotations

from typing import Any

from targets.reference.nova.api.router import Router
from targets.reference.web import Request

router = Router()


@router.route("GET", "/os-availability-zone", "os-availability-zone:list")
def list_all(_: Request) -> dict[str, Any]:
    """List the zones."""
    nova = {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
    return {"availabilityZoneInfo": [nova]}
