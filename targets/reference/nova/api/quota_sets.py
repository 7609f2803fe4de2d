"""Quota sets: the limits of a project, and how much of them is used."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from targets.reference import context
from targets.reference.nova import quotas
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router
from targets.reference.nova.key_pairs import KeyPair
from targets.reference.schema import Boolean, Limit, Schema, read_body
from targets.reference.web import HttpError, Reply, Request

router = Router()
NETWORK = {"fixed_ips": -1, "floating_ips": -1, "security_groups": -1, "security_group_rules": -1}
"""What Nova had limits of once (gone since 2.36)."""
_FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
"""Gone since 2.57."""


class Limits(Schema):
    """The limits that are to be changed."""

    instances: Limit | None = None
    cores: Limit | None = None
    ram: Limit | None = None
    metadata_items: Limit | None = None
    key_pairs: Limit | None = None
    server_groups: Limit | None = None
    server_group_members: Limit | None = None
    injected_files: Limit | None = None
    injected_file_content_bytes: Limit | None = None
    injected_file_path_bytes: Limit | None = None
    fixed_ips: Limit | None = None
    floating_ips: Limit | None = None
    security_groups: Limit | None = None
    security_group_rules: Limit | None = None
    networks: Limit | None = None
    force: Boolean = False
    tenant_id: str | None = Field(None, max_length=255)


@router.route("GET", "/os-quota-sets/{project}", "os-quota-sets:show")
def show(request: Request) -> dict[str, Any]:
    """Show a project's limits."""
    project = _project(request)
    return {"quota_set": {"id": project, **_shown(quotas.limits(project), request)}}


@router.route("GET", "/os-quota-sets/{project}/detail", "os-quota-sets:detail")
def detail(request: Request) -> dict[str, Any]:
    """Show a project's limits, and how much of them is used."""
    project = _project(request)
    cores, ram = quotas.count_size(project)
    used = {
        "instances": quotas.count_instances(project),
        "cores": cores,
        "ram": ram,
        "server_groups": quotas.count_server_groups(project),
    }
    if request.query.get("user_id"):
        used["key_pairs"] = len(KeyPair.find(request.query["user_id"]))
    view = {
        name: {"limit": most, "in_use": used.get(name, 0), "reserved": 0}
        for name, most in _shown(quotas.limits(project), request).items()
    }
    return {"quota_set": {"id": project, **view}}


@router.route("GET", "/os-quota-sets/{project}/defaults", "os-quota-sets:defaults")
def defaults(request: Request) -> dict[str, Any]:
    """Show the limits of a project for which nobody has said others."""
    return {"quota_set": {"id": request.path["project"], **_shown(quotas.DEFAULTS, request)}}


@router.route("PUT", "/os-quota-sets/{project}", "os-quota-sets:update")
def update(request: Request) -> dict[str, Any]:
    """Change a project's limits."""
    wanted = read_body(Limits, request, "quota_set").model_dump(exclude_none=True)
    project, force = request.path["project"], wanted.pop("force")
    changes = {name: most for name, most in wanted.items() if name in quotas.DEFAULTS}
    if not force:
        cores, ram = quotas.count_size(project)
        in_use = {"instances": quotas.count_instances(project), "cores": cores, "ram": ram}
        for name, used in in_use.items():
            if 0 <= changes.get(name, -1) < used:
                raise HttpError(
                    400,
                    f"Quota limit {changes[name]} for {name} must be greater than or equal to"
                    f" already used and reserved {used}.",
                )
    quotas.set_limits(project, changes)
    return {"quota_set": _shown(quotas.limits(project), request)}


@router.route("DELETE", "/os-quota-sets/{project}", "os-quota-sets:delete")
def delete(request: Request) -> Reply:
    """Give a project the default limits again."""
    quotas.forget(request.path["project"])
    return Reply(202)


@router.route("GET", "/os-quota-class-sets/{name}", "os-quota-class-sets:show")
def show_class(request: Request) -> dict[str, Any]:
    """Show the default limits; there is one class."""
    return {"quota_class_set": {"id": request.path["name"], **_shown(quotas.DEFAULTS, request)}}


def _project(request: Request) -> str:
    caller, project = context.current(), request.path["project"]
    if not caller.is_admin and project != caller.project_id:
        raise HttpError(
            403, "Policy doesn't allow os_compute_api:os-quota-sets:show to be performed."
        )
    return project


def _shown(limits: Any, request: Request) -> dict[str, int]:
    version = microversion.of(request)
    view = dict(limits)
    if version < 36:
        view |= NETWORK
    if version >= 57:
        for name in _FILES:
            del view[name]
    return view
