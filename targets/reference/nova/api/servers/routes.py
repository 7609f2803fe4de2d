"""List, show, create and delete servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from targets.reference.client import Unreachable
from targets.reference.nova import deletion
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.api.servers import creation, listing, lookup, schemas, views
from targets.reference.nova.deletion import InstanceLocked
from targets.reference.nova.instance import Instance, InstanceNotFound
from targets.reference.schema import read_body
from targets.reference.web import HttpError, Reply, Request, not_found

router = Router()


@router.route("GET", "/servers", "servers:index")
def list_short(request: Request) -> dict[str, Any]:
    """List servers by id and name."""
    return listing.servers(request, views.short)


@router.route("GET", "/servers/detail", "servers:index")
def list_detail(request: Request) -> dict[str, Any]:
    """List servers."""
    return listing.servers(request, views.server)


@router.route("POST", "/servers", "servers:create")
def create(request: Request) -> Reply:
    """Accept a new server."""
    wanted, hints = schemas.read_new(request.body, microversion.of(request))
    made = creation.create(wanted, hints)
    link = url(request, "servers", made[0].instance)
    if wanted.return_reservation_id:
        return Reply(202, {"reservation_id": made[0].attributes.reservation_id})
    return Reply(202, {"server": creation.told(made, link)}, {"Location": link})


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
    except InstanceLocked as error:
        raise HttpError(409, str(error)) from None
    except Unreachable as error:
        raise HttpError(503, f"The delete goes on when it is asked for again: {error}") from None


@router.route("PUT", "/servers/{server}", "servers:update")
def update(request: Request) -> dict[str, Any]:
    """Change what a server's user says of it."""
    body = request.body
    if isinstance(body, dict) and isinstance(body.get("server"), dict):
        schemas.check_version(body["server"], microversion.of(request))
    wanted = read_body(schemas.ServerChange, request, "server")
    found = lookup.get_in_cell(request.path["server"])
    said = wanted.model_fields_set
    names = {
        "disk_config": "disk_config",
        "accessIPv4": "access_ipv4",
        "accessIPv6": "access_ipv6",
        "description": "description",
        "hostname": "hostname",
    }
    changes = {kept: getattr(wanted, name) for name, kept in names.items() if name in said}

    def change(instance: Instance) -> dict[str, Any]:
        changed: dict[str, Any] = {"attributes": replace(instance.attributes, **changes)}
        return changed | ({"name": wanted.name} if wanted.name else {})

    changed = Instance.modify(found.cell, found.uuid, change)
    if changed is None:
        raise not_found("Instance", found.uuid)
    return {"server": views.server(changed, request)}
