"""Metadata of a server."""

from __future__ import annotations

from typing import Any

from targets.reference import context
from targets.reference.nova import quotas
from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.api.servers.schemas import OfMetadata, OfMetadataItem
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.schema import read
from targets.reference.web import HttpError, Request, not_found

router = Router()
_PATH = "/servers/{server}/metadata"


@router.route("GET", _PATH, "server-metadata:index")
def list_all(request: Request) -> dict[str, Any]:
    """List a server's metadata."""
    return {"metadata": _metadata(request)}


@router.route("POST", _PATH, "server-metadata:create")
def add(request: Request) -> dict[str, Any]:
    """Set metadata; the rest stays."""
    said = read(OfMetadata, request.body, "metadata").metadata
    return {"metadata": _change(request, lambda before: {**before, **said})}


@router.route("PUT", _PATH, "server-metadata:update_all")
def replace(request: Request) -> dict[str, Any]:
    """Set metadata; the rest goes."""
    said = read(OfMetadata, request.body, "metadata").metadata
    return {"metadata": _change(request, lambda _: dict(said))}


@router.route("GET", _PATH + "/{key}", "server-metadata:show")
def show(request: Request) -> dict[str, Any]:
    """Show one item."""
    found, key = _metadata(request), request.path["key"]
    if key not in found:
        raise HttpError(404, "Metadata item was not found")
    return {"meta": {key: found[key]}}


@router.route("PUT", _PATH + "/{key}", "server-metadata:update")
def update(request: Request) -> dict[str, Any]:
    """Set one item."""
    said, key = read(OfMetadataItem, request.body, "meta").meta, request.path["key"]
    if set(said) != {key}:
        raise HttpError(400, "Request body and URI mismatch")
    _change(request, lambda before: {**before, **said})
    return {"meta": dict(said)}


@router.route("DELETE", _PATH + "/{key}", "server-metadata:delete")
def delete(request: Request) -> None:
    """Remove one item."""
    key = request.path["key"]
    if key not in _metadata(request):
        raise HttpError(404, "Metadata item was not found")
    _change(request, lambda before: {k: v for k, v in before.items() if k != key})


def _metadata(request: Request) -> dict[str, str]:
    found = lookup.get(request.path["server"])
    return found.metadata if isinstance(found, BuildRequest) else found.meta


def _change(request: Request, change: Any) -> dict[str, str]:
    found = lookup.get_in_cell(request.path["server"])
    most = quotas.limits(context.current().project_id)["metadata_items"]

    def changed(instance: Instance) -> dict[str, Any]:
        said = change(instance.meta)
        if 0 <= most < len(said):
            raise HttpError(403, "Quota exceeded, too many metadata items.")
        return {"meta": said}

    saved = Instance.modify(found.cell, found.uuid, changed)
    if saved is None:
        raise not_found("Instance", found.uuid)
    return saved.meta
