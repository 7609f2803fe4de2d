"""The services (``os-services``): listed, enabled, disabled, forced down, forgotten."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Any, Literal

from pydantic import Field

from targets.reference.bus import BusUnreachable
from targets.reference.nova import aggregates, services
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import Router
from targets.reference.nova.instance import Instance
from targets.reference.nova.services import Service
from targets.reference.schema import Boolean, Schema, read
from targets.reference.web import HttpError, Request

router = Router()
Reason = Annotated[str, Field(min_length=1, max_length=255)]
Host = Annotated[str, Field(min_length=1, max_length=255)]


class Named(Schema):
    """Which service is meant."""

    host: Host
    binary: Host


class NamedWithReason(Named):
    """Which service is meant, and why it is disabled."""

    disabled_reason: Reason


class NamedForcedDown(Named):
    """Which service is meant, and whether it is down whatever it does."""

    forced_down: Boolean


class Change(Schema):
    """What can be changed of a service, from 2.53 on."""

    status: Literal["enabled", "disabled"] | None = None
    disabled_reason: Reason | None = None
    forced_down: Boolean | None = None


@router.route("GET", "/os-services", "os-services:list")
def list_all(request: Request) -> dict[str, Any]:
    """List the services."""
    wanted = {n: request.query[n] for n in ("host", "binary") if n in request.query}
    listening, zones = _listening(), aggregates.zones()
    found = services.find(**wanted)
    return {"services": [_view(service, listening, zones, request) for service in found]}


@router.route("PUT", "/os-services/enable", "os-services:update", until=52)
def enable(request: Request) -> dict[str, Any]:
    """Have servers scheduled to a host again."""
    named = read(Named, request.body, "service")
    _save(_named(named), disabled=False, disabled_reason=None)
    return _short(named, status="enabled")


@router.route("PUT", "/os-services/disable", "os-services:update", until=52)
def disable(request: Request) -> dict[str, Any]:
    """Have no more servers scheduled to a host."""
    named = read(Named, request.body, "service")
    _save(_named(named), disabled=True, disabled_reason=None)
    return _short(named, status="disabled")


@router.route("PUT", "/os-services/disable-log-reason", "os-services:update", until=52)
def disable_with_reason(request: Request) -> dict[str, Any]:
    """The same, and say why."""
    named = read(NamedWithReason, request.body, "service")
    _save(_named(named), disabled=True, disabled_reason=named.disabled_reason)
    return _short(named, status="disabled", disabled_reason=named.disabled_reason)


@router.route("PUT", "/os-services/force-down", "os-services:update", since=11, until=52)
def force_down(request: Request) -> dict[str, Any]:
    """Say that a service is down, whatever it does; or that it is not."""
    named = read(NamedForcedDown, request.body, "service")
    _save(_named(named), forced_down=named.forced_down)
    return _short(named, forced_down=named.forced_down)


@router.route("PUT", "/os-services/{service}", "os-services:update", since=53)
def update(request: Request) -> dict[str, Any]:
    """Enable, disable or force down a compute."""
    found = _get(request)
    wanted = read(Change, request.body, "service")
    changes: dict[str, Any] = {}
    if wanted.status is not None:
        changes = {
            "disabled": wanted.status == "disabled",
            "disabled_reason": wanted.disabled_reason,
        }
    if wanted.disabled_reason is not None and wanted.status != "disabled":
        raise HttpError(400, "Specifying disabled_reason requires that status is 'disabled'.")
    if wanted.forced_down is not None:
        changes["forced_down"] = wanted.forced_down
    if not changes:
        raise HttpError(
            400, "No updates were requested. Fields 'status' or 'forced_down' are wanted."
        )
    if found.binary != services.COMPUTE:
        raise HttpError(400, f"Updating a {found.binary} service is not supported.")
    saved = _save(found, **changes)
    return {"service": _view(saved, _listening(), aggregates.zones(), request)}


@router.route("DELETE", "/os-services/{service}", "os-services:delete")
def delete(request: Request) -> None:
    """Forget a service that is gone; a compute's only when no server is on its host."""
    found = _get(request)
    if found.binary == services.COMPUTE and Instance.find(found.cell, host=found.host):
        raise HttpError(
            409,
            "Unable to delete compute service that is hosting instances. Migrate or delete them.",
        )
    found.destroy()


def _listening() -> Container[str]:
    try:
        return services.listening()
    except BusUnreachable:
        return frozenset()  # without a broker nobody takes a message


def _named(named: Named) -> Service:
    found = services.find(host=named.host, binary=named.binary)
    if not found:
        raise HttpError(404, f"Could not find binary {named.binary} on host {named.host}.")
    return found[0]


def _get(request: Request) -> Service:
    key = request.path["service"]
    if microversion.of(request) >= 53:
        found = services.find(uuid=key)
    else:
        if not (key.isdecimal() and key.isascii() and len(key) < 10):
            raise HttpError(400, f"Invalid service id: {key[:255]}")
        found = services.find(id=int(key))
    if not found:
        raise HttpError(404, f"Service {key} could not be found.")
    return found[0]


def _save(service: Service, **changes: Any) -> Service:
    saved = service.save(**changes)
    if saved is None:
        raise HttpError(404, f"Service {service.uuid} could not be found.")
    return saved


def _short(named: Named, **more: Any) -> dict[str, Any]:
    return {"service": {"host": named.host, "binary": named.binary, **more}}


def _view(
    service: Service, listening: Container[str], zones: dict[str, str], request: Request
) -> dict[str, Any]:
    version = microversion.of(request)
    compute = service.binary == services.COMPUTE
    view: dict[str, Any] = {
        "id": service.uuid if version >= 53 else service.id,
        "binary": service.binary,
        "host": service.host,
        "zone": zones.get(service.host, aggregates.DEFAULT_ZONE) if compute else "internal",
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if service.is_up(listening) else "down",
        "updated_at": service.updated_at,
        "disabled_reason": service.disabled_reason,
    }
    return view | ({"forced_down": service.forced_down} if version >= 11 else {})
