"""Flavors."""

from __future__ import annotations

from typing import Any

from targets.reference.nova import flavors
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.flavors import Flavor
from targets.reference.web import Request, not_found

router = Router()


@router.route("GET", "/flavors", "flavors:index")
@router.route("GET", "/flavors/detail", "flavors:index")
def list_all(request: Request) -> dict[str, Any]:
    """List the flavors."""
    return {"flavors": [_view(shown, request) for shown in flavors.FLAVORS]}


@router.route("GET", "/flavors/{flavor}", "flavors:index")
def show(request: Request) -> dict[str, Any]:
    """Show one flavor."""
    shown = flavors.find(request.path["flavor"])
    if shown is None or shown.id != request.path["flavor"]:
        raise not_found("Flavor", request.path["flavor"])
    return {"flavor": _view(shown, request)}


@router.route("GET", "/flavors/{flavor}/os-extra_specs", "flavors:extra-specs")
def extra_specs(_: Request) -> dict[str, Any]:
    """Show a flavor's extra specs: none has any."""
    return {"extra_specs": {}}


def _view(shown: Flavor, request: Request) -> dict[str, Any]:
    return {
        "id": shown.id,
        "name": shown.name,
        "description": None,
        "vcpus": shown.vcpus,
        "ram": shown.ram,
        "disk": shown.disk,
        "swap": 0,
        "rxtx_factor": 1.0,
        "extra_specs": {},
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "links": [{"rel": "self", "href": url(request, "flavors", shown.id)}],
    }
