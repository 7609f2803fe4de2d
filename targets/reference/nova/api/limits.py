"""The limits of a project, and how much of them is used."""

from __future__ import annotations

from typing import Any

from targets.reference import context
from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.web import Request

QUOTA_INSTANCES = 100
router = Router()


@router.route("GET", "/limits", "limits")
def show(_: Request) -> dict[str, Any]:
    """Show the quota and how much of it is used."""
    used = lookup.find_all(context.current().project_id)
    return {
        "limits": {
            "rate": [],
            "absolute": {
                "maxTotalInstances": QUOTA_INSTANCES,
                "maxTotalCores": -1,
                "maxTotalRAMSize": -1,
                "totalInstancesUsed": len(used),
                "totalCoresUsed": sum(record.vcpus for record in used),
                "totalRAMUsed": sum(record.ram for record in used),
            },
        }
    }
