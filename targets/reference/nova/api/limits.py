"""The limits of a project, and how much of them is used."""

from __future__ import annotations

from typing import Any

from targets.reference import context
from targets.reference.nova import quotas
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router
from targets.reference.web import HttpError, Request

router = Router()
_NAMES = {
    "instances": "maxTotalInstances",
    "cores": "maxTotalCores",
    "ram": "maxTotalRAMSize",
    "metadata_items": "maxServerMeta",
    "key_pairs": "maxTotalKeypairs",
    "server_groups": "maxServerGroups",
    "server_group_members": "maxServerGroupMembers",
}
_GONE_SINCE_2_57 = {
    "injected_files": "maxPersonality",
    "injected_file_content_bytes": "maxPersonalitySize",
}
_NETWORK = {
    "maxTotalFloatingIps": -1,
    "maxSecurityGroups": -1,
    "maxSecurityGroupRules": -1,
    "totalFloatingIpsUsed": 0,
    "totalSecurityGroupsUsed": 0,
}
"""Gone since 2.36."""


@router.route("GET", "/limits", "limits")
def show(request: Request) -> dict[str, Any]:
    """Show the quota and how much of it is used."""
    caller, version = context.current(), microversion.of(request)
    project = request.query.get("tenant_id", caller.project_id)
    if project != caller.project_id and not caller.is_admin:
        raise HttpError(
            403, "Policy doesn't allow os_compute_api:limits:other_project to be performed."
        )
    limits = quotas.limits(project)
    absolute = {shown: limits[name] for name, shown in _NAMES.items()}
    if version < 39:
        absolute["maxImageMeta"] = limits["metadata_items"]
    if version < 57:
        absolute |= {shown: limits[name] for name, shown in _GONE_SINCE_2_57.items()}
    if version < 36:
        absolute |= _NETWORK
    cores, ram = quotas.count_size(project)
    absolute |= {
        "totalInstancesUsed": quotas.count_instances(project),
        "totalCoresUsed": cores,
        "totalRAMUsed": ram,
        "totalServerGroupsUsed": quotas.count_server_groups(project),
    }
    return {"limits": {"rate": [], "absolute": absolute}}
