"""Aggregates."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints

from targets.reference.nova import aggregates, hosts
from targets.reference.nova.aggregates import Aggregate, AggregateExists
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router
from targets.reference.nova.instance import Instance
from targets.reference.schema import Key, Name, Schema, Text255, read, read_body
from targets.reference.web import HttpError, Reply, Request

router = Router()
Zone = Annotated[str, StringConstraints(pattern=r"^[^:]{1,255}$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9\-._]{1,255}$")]


class NewAggregate(Schema):
    """An aggregate as it is made."""

    name: Name
    availability_zone: Zone | None = None


class Change(Schema):
    """What can be changed of an aggregate."""

    name: Name | None = None
    availability_zone: Zone | None = None


class OfHost(Schema):
    """The host that is put into it, or taken out."""

    host: HostName


class OfMetadata(Schema):
    """The metadata that is set; None takes away."""

    metadata: dict[Key, Text255 | None]


@router.route("GET", "/os-aggregates", "os-aggregates:index")
def list_all(request: Request) -> dict[str, Any]:
    """List the aggregates."""
    return {"aggregates": [_view(found, request) for found in aggregates.find()]}


@router.route("POST", "/os-aggregates", "os-aggregates:create")
def create(request: Request) -> dict[str, Any]:
    """Make an aggregate."""
    wanted = read_body(NewAggregate, request, "aggregate")
    try:
        made = aggregates.create(wanted.name, wanted.availability_zone)
    except AggregateExists as error:
        raise HttpError(409, str(error)) from None
    view = _view(made, request)
    del view["hosts"], view["metadata"]
    return {"aggregate": view}


@router.route("GET", "/os-aggregates/{aggregate}", "os-aggregates:show")
def show(request: Request) -> dict[str, Any]:
    """Show one aggregate."""
    return {"aggregate": _view(_get(request), request)}


@router.route("PUT", "/os-aggregates/{aggregate}", "os-aggregates:update")
def update(request: Request) -> dict[str, Any]:
    """Give an aggregate another name, or make it another zone."""
    found = _get(request)
    wanted = read_body(Change, request, "aggregate")
    if not wanted.model_fields_set:
        raise HttpError(400, "Invalid input for field/attribute aggregate. Nothing is changed.")
    if wanted.name is not None:
        try:
            aggregates.rename(found.id, wanted.name)
        except AggregateExists as error:
            raise HttpError(409, str(error)) from None
    if "availability_zone" in wanted.model_fields_set:
        zone = wanted.availability_zone
        _see_that_no_host_changes_zone(found, zone)
        aggregates.set_metadata(found.id, {aggregates.ZONE: zone})
    return {"aggregate": _view(_get(request), request)}


@router.route("DELETE", "/os-aggregates/{aggregate}", "os-aggregates:delete")
def delete(request: Request) -> Reply:
    """Remove an aggregate that has no host."""
    found = _get(request)
    if not aggregates.destroy(found.id):
        raise HttpError(400, f"Cannot remove aggregate {found.id}: the host aggregate is not empty")
    return Reply(200)


@router.route("POST", "/os-aggregates/{aggregate}/action", "os-aggregates:change")
def act(request: Request) -> dict[str, Any]:
    """Put a host in, take one out, or set metadata."""
    found, body = _get(request), request.body
    if not isinstance(body, dict) or len(body) != 1:
        raise HttpError(400, "The body must name one action.")
    ((name, given),) = body.items()
    if name == "set_metadata":
        said = read(OfMetadata, given, name).metadata
        if aggregates.ZONE in said:
            _see_that_no_host_changes_zone(found, said[aggregates.ZONE])
        aggregates.set_metadata(found.id, said)
    elif name == "add_host":
        _add(found, read(OfHost, given, name).host)
    elif name == "remove_host":
        host = read(OfHost, given, name).host
        if not aggregates.remove_host(found.id, host):
            raise HttpError(404, f"Aggregate {found.id} has no host {host}.")
    else:
        raise HttpError(400, f"There is no such action: {name}")
    return {"aggregate": _view(_get(request), request)}


def _add(aggregate: Aggregate, host: str) -> None:
    if host not in {known.host for known in hosts.find()}:
        raise HttpError(404, f"Compute host {host} could not be found.")
    zone = aggregates.zones().get(host)
    if aggregate.zone and zone and zone != aggregate.zone:
        raise HttpError(
            409,
            f"Cannot add host to aggregate {aggregate.id}. Reason: Host {host} already in"
            f" availability zone {zone}.",
        )
    if not aggregates.add_host(aggregate.id, host):
        raise HttpError(409, f"Aggregate {aggregate.id} already has host {host}.")


def _see_that_no_host_changes_zone(aggregate: Aggregate, zone: str | None) -> None:
    if zone == aggregate.zone:
        return
    cells = {known.host: known.cell for known in hosts.find()}
    for host in aggregate.hosts:
        if host in cells and Instance.find(cells[host], host=host):
            raise HttpError(
                400,
                f"Cannot update aggregate {aggregate.id}. Reason: One or more hosts contain"
                " instances in this zone.",
            )


def _get(request: Request) -> Aggregate:
    key = request.path["aggregate"]
    if not (key.isdecimal() and key.isascii() and len(key) < 10):
        raise HttpError(400, f"Invalid input for field/attribute aggregate id. Value: {key[:255]}.")
    found = aggregates.get(int(key))
    if found is None:
        raise HttpError(404, f"Aggregate {key} could not be found.")
    return found


def _view(found: Aggregate, request: Request) -> dict[str, Any]:
    view = {
        "id": found.id,
        "name": found.name,
        "availability_zone": found.zone,
        "hosts": list(found.hosts),
        "metadata": found.metadata,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "deleted_at": None,
        "deleted": False,
    }
    return view | ({"uuid": found.uuid} if microversion.of(request) >= 41 else {})
