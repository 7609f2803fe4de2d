"""List, show, create and delete servers."""

from __future__ import annotations

from typing import Any

from targets.reference import context
from targets.reference.client import Unreachable
from targets.reference.nova import deletion
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.api.servers import creation, lookup, views
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance, InstanceNotFound
from targets.reference.web import HttpError, Reply, Request

router = Router()
_TRUE = {"", "1", "true", "t", "yes", "on"}


@router.route("GET", "/servers", "servers:index")
def list_short(request: Request) -> dict[str, Any]:
    """List servers by id and name."""
    return {"servers": [views.short(record, request) for record in _matching(request)]}


@router.route("GET", "/servers/detail", "servers:index")
def list_detail(request: Request) -> dict[str, Any]:
    """List servers."""
    return {"servers": [views.server(record, request) for record in _matching(request)]}


@router.route("POST", "/servers", "servers:create")
def create(request: Request) -> Reply:
    """Accept a new server."""
    uuid = creation.create(request.body_of("server"))
    link = url(request, "servers", uuid)
    made = {
        "id": uuid,
        "links": [{"rel": "self", "href": link}],
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [],
        "adminPass": "not-used-here",
    }
    return Reply(202, {"server": made}, {"Location": link})


@router.route("GET", "/servers/{server}", "servers:index")
def show(request: Request) -> dict[str, Any]:
    """Show one server."""
    return {"server": views.server(lookup.get(request.path["server"]), request)}


@router.route("DELETE", "/servers/{server}", "servers:delete")
def delete(request: Request) -> None:
    """Delete a server."""
    try:
        deletion.delete_as_configured(request.path["server"])
    except InstanceNotFound as error:
        raise HttpError(404, str(error)) from None
    except Unreachable as error:
        raise HttpError(503, f"The delete goes on when it is asked for again: {error}") from None


def _matching(request: Request) -> list[BuildRequest | Instance]:
    caller = context.current()
    everybodys = caller.is_admin and request.query.get("all_tenants", "0").lower() in _TRUE
    found = lookup.find_all(None if everybodys else caller.project_id)
    name, status = request.query.get("name", ""), request.query.get("status", "")
    if name:
        found = [record for record in found if name in record.name]
    if status:
        found = [r for r in found if views.server(r, request)["status"] == status.upper()]
    marker = request.query.get("marker")
    if marker:
        ids = [lookup.id_of(record) for record in found]
        found = found[ids.index(marker) + 1 :] if marker in ids else []
    return found[: int(request.query.get("limit", "1000"))]
