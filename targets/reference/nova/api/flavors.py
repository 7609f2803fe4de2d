"""Flavors, who may use them, and their extra specs."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from targets.reference import context
from targets.reference.nova import flavors
from targets.reference.nova.api import microversion
from targets.reference.nova.api.paging import page
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.flavors import Flavor, FlavorExists
from targets.reference.nova.tables import FLAVORS
from targets.reference.schema import (
    Boolean,
    Count,
    Metadata,
    Name,
    Positive,
    Schema,
    read,
    read_body,
    read_query,
)
from targets.reference.web import HttpError, Reply, Request

router = Router()
Description = Annotated[str, Field(max_length=65535)]


class NewFlavor(Schema):
    """A flavor as it is made."""

    name: Name
    id: Name | None = None
    vcpus: Positive
    ram: Positive
    disk: Count
    ephemeral: Count = Field(0, alias="OS-FLV-EXT-DATA:ephemeral")
    swap: Count = 0
    rxtx_factor: Annotated[float, Field(gt=0, le=3.4e38, strict=False)] = 1.0
    is_public: Boolean = Field(True, alias="os-flavor-access:is_public")


class NewDescribedFlavor(NewFlavor):
    """The same from 2.55 on."""

    description: Description | None = None


class FlavorChange(Schema):
    """What can be changed of a flavor."""

    description: Description | None


class ProjectAccess(Schema):
    """The project that is given access, or has it taken."""

    tenant: Annotated[str, Field(min_length=1, max_length=255)]


@router.route("GET", "/flavors", "flavors:index")
def list_short(request: Request) -> dict[str, Any]:
    """List flavors by id and name."""
    shown, links = _page(request)
    return {"flavors": [_short(flavor, request) for flavor in shown], **links}


@router.route("GET", "/flavors/detail", "flavors:index")
def list_detail(request: Request) -> dict[str, Any]:
    """List flavors."""
    shown, links = _page(request)
    return {"flavors": [_view(flavor, request) for flavor in shown], **links}


@router.route("GET", "/flavors/{flavor}", "flavors:show")
def show(request: Request) -> dict[str, Any]:
    """Show one flavor."""
    return {"flavor": _view(_get(request), request)}


@router.route("POST", "/flavors", "os-flavor-manage:create")
def create(request: Request) -> dict[str, Any]:
    """Make a flavor."""
    described = microversion.of(request) >= 55
    wanted = read_body(NewDescribedFlavor if described else NewFlavor, request, "flavor")
    values = wanted.model_dump()
    if not values["id"] or values["id"] == "auto":
        values["id"] = str(uuid.uuid4())
    made = Flavor(**values)
    try:
        flavors.create(made)
    except FlavorExists as error:
        raise HttpError(409, str(error)) from None
    if not made.is_public:
        flavors.grant(made.id, context.current().project_id)
    return {"flavor": _view(made, request)}


@router.route("PUT", "/flavors/{flavor}", "os-flavor-manage:update", since=55)
def update(request: Request) -> dict[str, Any]:
    """Describe a flavor."""
    flavor = _get(request)
    wanted = read_body(FlavorChange, request, "flavor")
    flavors.update(flavor.id, description=wanted.description)
    return {"flavor": _view(replace(flavor, description=wanted.description), request)}


@router.route("DELETE", "/flavors/{flavor}", "os-flavor-manage:delete")
def delete(request: Request) -> Reply:
    """Remove a flavor."""
    if not flavors.destroy(request.path["flavor"]):
        raise _no_flavor(request.path["flavor"])
    return Reply(202)


# ---------------------------------------------------------------------- access


@router.route("GET", "/flavors/{flavor}/os-flavor-access", "os-flavor-access")
def list_access(request: Request) -> dict[str, Any]:
    """List the projects that may use a flavor which is not for all."""
    flavor = _get(request)
    if flavor.is_public:
        raise HttpError(404, "Access list not available for public flavors.")
    return _access(flavor.id)


@router.route("POST", "/flavors/{flavor}/action", "os-flavor-access:change")
def change_access(request: Request) -> dict[str, Any]:
    """Give a project access, or take it."""
    flavor, body = _get(request), request.body
    if not isinstance(body, dict) or len(body) != 1:
        raise HttpError(400, "The body must name one action.")
    ((name, given),) = body.items()
    if name not in ("addTenantAccess", "removeTenantAccess"):
        raise HttpError(400, f"There is no such action: {name}")
    project = read(ProjectAccess, given, name).tenant
    if name == "addTenantAccess":
        if flavor.is_public:
            raise HttpError(409, "Can not add access to a public flavor.")
        if not flavors.grant(flavor.id, project):
            raise HttpError(
                409,
                f"Flavor access already exists for flavor {flavor.id} and project {project}"
                " combination.",
            )
    elif not flavors.revoke(flavor.id, project):
        raise HttpError(404, f"Flavor access not found for {flavor.id} / {project} combination.")
    return _access(flavor.id)


# ---------------------------------------------------------------------- extra specs


@router.route("GET", "/flavors/{flavor}/os-extra_specs", "os-flavor-extra-specs:index")
def list_specs(request: Request) -> dict[str, Any]:
    """Show a flavor's extra specs."""
    return {"extra_specs": _get(request).extra_specs}


@router.route("POST", "/flavors/{flavor}/os-extra_specs", "os-flavor-extra-specs:create")
def create_specs(request: Request) -> dict[str, Any]:
    """Set extra specs; the others stay."""
    flavor = _get(request)
    body = request.body
    if not isinstance(body, dict) or set(body) != {"extra_specs"}:
        raise HttpError(400, "The body must hold 'extra_specs' and nothing else.")
    specs = _specs(body["extra_specs"])
    flavors.set_extra_specs(flavor.id, specs)
    return {"extra_specs": specs}


@router.route("GET", "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:index")
def show_spec(request: Request) -> dict[str, Any]:
    """Show one extra spec."""
    flavor, key = _get(request), request.path["key"]
    if key not in flavor.extra_specs:
        raise _no_spec(flavor, key)
    return {key: flavor.extra_specs[key]}


@router.route("PUT", "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:update")
def update_spec(request: Request) -> dict[str, Any]:
    """Set one extra spec."""
    flavor, key = _get(request), request.path["key"]
    specs = _specs(request.body)
    if set(specs) != {key}:
        raise HttpError(400, "Request body and URI mismatch")
    flavors.set_extra_specs(flavor.id, specs)
    return specs


@router.route("DELETE", "/flavors/{flavor}/os-extra_specs/{key}", "os-flavor-extra-specs:delete")
def delete_spec(request: Request) -> Reply:
    """Remove one extra spec."""
    flavor, key = _get(request), request.path["key"]
    if not flavors.remove_extra_spec(flavor.id, key):
        raise _no_spec(flavor, key)
    return Reply(200)


def _page(request: Request) -> tuple[list[Flavor], dict[str, Any]]:
    caller = context.current()
    where = []
    public = request.query.get("is_public", "").lower()
    if not caller.is_admin or public in ("", "1", "true", "t", "yes", "on"):
        where.append(flavors.visible(caller.project_id))
    elif public in ("0", "false", "f", "no", "off"):
        where.append(FLAVORS.c.is_public.is_(False))
    elif public != "none":
        raise HttpError(400, f"Invalid is_public filter [{public}]")
    for parameter, column in (("minRam", FLAVORS.c.ram), ("minDisk", FLAVORS.c.disk)):
        least = read_query(request, parameter, int, 0)
        if not -(2**31) <= least < 2**31:
            raise HttpError(400, f"Invalid {parameter} filter [{least}]")
        where.append(column >= least)
    found = flavors.find_all(*where)
    return page(
        request, _sorted(found, request), lambda f: f.id, url(request, "flavors"), "flavors"
    )


def _sorted(found: list[Flavor], request: Request) -> list[Flavor]:
    names = {"flavorid": "id", "memory_mb": "ram", "root_gb": "disk", "ephemeral_gb": "ephemeral"}
    key = request.query.get("sort_key", "flavorid")
    column = names.get(key, key)
    if column not in ("id", "name", "vcpus", "ram", "disk", "ephemeral", "swap", "is_public"):
        raise HttpError(400, f"Invalid input for query parameters sort_key. Value: {key[:255]}.")
    direction = request.query.get("sort_dir", "asc")
    if direction not in ("asc", "desc"):
        raise HttpError(400, f"Invalid input for query parameters sort_dir. Value: {direction}.")
    return sorted(found, key=lambda f: str(getattr(f, column)) if column in ("id", "name")
                  else getattr(f, column), reverse=direction == "desc")  # fmt: skip


def _get(request: Request) -> Flavor:
    """Return the flavor of the path, as Nova also one that the project may not use."""
    found = flavors.get(request.path["flavor"])
    if found is None:
        raise _no_flavor(request.path["flavor"])
    return found


def _specs(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise HttpError(400, "Invalid input for field/attribute extra_specs.")
    texts = {k: str(v) if isinstance(v, int | float) else v for k, v in given.items()}
    return read(_Specs, {"specs": texts}, "extra_specs").specs


class _Specs(Schema):
    specs: Metadata


def _no_flavor(flavor_id: str) -> HttpError:
    return HttpError(404, f"Flavor {flavor_id} could not be found.")


def _no_spec(flavor: Flavor, key: str) -> HttpError:
    return HttpError(404, f"Flavor {flavor.id} has no extra specs with key {key}.")


def _access(flavor_id: str) -> dict[str, Any]:
    found = flavors.projects(flavor_id)
    return {"flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in found]}


def _short(shown: Flavor, request: Request) -> dict[str, Any]:
    view: dict[str, Any] = {"id": shown.id, "name": shown.name, "links": _links(shown, request)}
    if microversion.of(request) >= 55:
        view["description"] = shown.description
    return view


def _view(shown: Flavor, request: Request) -> dict[str, Any]:
    version = microversion.of(request)
    view = {
        "id": shown.id,
        "name": shown.name,
        "vcpus": shown.vcpus,
        "ram": shown.ram,
        "disk": shown.disk,
        "swap": shown.swap if version >= 75 or shown.swap else "",
        "rxtx_factor": shown.rxtx_factor,
        "OS-FLV-EXT-DATA:ephemeral": shown.ephemeral,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": shown.is_public,
        "links": _links(shown, request),
    }
    if version >= 55:
        view["description"] = shown.description
    if version >= 61:
        view["extra_specs"] = shown.extra_specs
    return view


def _links(shown: Flavor, request: Request) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": url(request, "flavors", shown.id)},
        {"rel": "bookmark", "href": f"{request.base}/flavors/{shown.id}"},
    ]
