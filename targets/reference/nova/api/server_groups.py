"""Server groups."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from targets.reference import context
from targets.reference.nova import quotas
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.server_groups import ServerGroup
from targets.reference.policy import owns
from targets.reference.schema import Name, Positive, Schema, read_body
from targets.reference.web import HttpError, Request

router = Router()
Policy = Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]


class OldGroup(Schema):
    """A group as it is made before 2.64; before 2.15 no policy is soft."""

    name: Name
    policies: Annotated[list[Policy], Field(min_length=1, max_length=1)]


class Rules(Schema):
    """What limits an anti-affinity."""

    max_server_per_host: Positive | None = None


class Group(Schema):
    """A group as it is made from 2.64 on."""

    name: Name
    policy: Policy
    rules: Rules = Rules()


@router.route("GET", "/os-server-groups", "os-server-groups:index")
def list_all(request: Request) -> dict[str, Any]:
    """List the groups of the project; an administrator may ask for those of all."""
    caller = context.current()
    everybodys = caller.is_admin and "all_projects" in request.query
    found = ServerGroup.find() if everybodys else ServerGroup.find(project_id=caller.project_id)
    start, most = _range(request)
    return {"server_groups": [_view(group, request) for group in found[start : start + most]]}


@router.route("POST", "/os-server-groups", "os-server-groups:create")
def create(request: Request) -> dict[str, Any]:
    """Make a group."""
    version, caller = microversion.of(request), context.current()
    if version >= 64:
        new = read_body(Group, request, "server_group")
        name, policy, most = new.name, str(new.policy), new.rules.max_server_per_host
        if most is not None and policy != "anti-affinity":
            raise HttpError(400, "Only anti-affinity policy supports rules.")
    else:
        old = read_body(OldGroup, request, "server_group")
        if version < 15 and old.policies[0].startswith("soft"):
            raise HttpError(400, f"Invalid input for field/attribute 0. Value: {old.policies[0]}.")
        name, policy, most = old.name, str(old.policies[0]), None
    allowed = quotas.limits(caller.project_id)["server_groups"]
    if 0 <= allowed <= quotas.count_server_groups(caller.project_id):
        raise HttpError(403, "Quota exceeded, too many server groups.")
    made = ServerGroup.create(name, caller.project_id, caller.user_id, policy, most)
    return {"server_group": _view(made, request)}


@router.route("GET", "/os-server-groups/{group}", "os-server-groups:show")
def show(request: Request) -> dict[str, Any]:
    """Show one group."""
    return {"server_group": _view(_get(request), request)}


@router.route("DELETE", "/os-server-groups/{group}", "os-server-groups:delete")
def delete(request: Request) -> None:
    """Remove a group; its servers stay."""
    if not ServerGroup.destroy(_get(request).uuid):
        raise _no_group(request)


def _get(request: Request) -> ServerGroup:
    found = ServerGroup.get(request.path["group"])
    if found is None or not owns(found.project_id):
        raise _no_group(request)
    return found


def _no_group(request: Request) -> HttpError:
    return HttpError(404, f"Instance group {request.path['group']} could not be found.")


def _range(request: Request) -> tuple[int, int]:
    found = []
    for name, default in (("offset", 0), ("limit", 1000)):
        given = request.query.get(name, str(default))
        if not given.isdecimal() or len(given) > 10:
            raise HttpError(
                400, f"Invalid input for query parameters {name}. Value: {given[:255]}."
            )
        found.append(int(given))
    return found[0], min(found[1] or 1000, 1000)


def _view(group: ServerGroup, request: Request) -> dict[str, Any]:
    version = microversion.of(request)
    alive = [m for m in group.members if (mapping := InstanceMapping.get(m))
             and not mapping.queued_for_delete]  # fmt: skip
    view: dict[str, Any] = {"id": group.uuid, "name": group.name, "members": alive}
    if version >= 13:
        view |= {"project_id": group.project_id, "user_id": group.user_id}
    if version < 64:
        return view | {"policies": [group.policy], "metadata": {}}
    most = group.max_server_per_host
    rules = {} if most is None else {"max_server_per_host": most}
    return view | {"policy": group.policy, "rules": rules}
