"""Tags of a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from targets.reference.nova.api.router import Router, url
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.api.servers.schemas import OfTags
from targets.reference.nova.instance import Instance
from targets.reference.schema import read
from targets.reference.web import HttpError, Reply, Request, not_found

router = Router()
MOST = 50
_PATH = "/servers/{server}/tags"


@router.route("GET", _PATH, "os-server-tags:index", since=26)
def list_all(request: Request) -> dict[str, Any]:
    """List a server's tags."""
    return {"tags": list(lookup.get(request.path["server"]).tags)}


@router.route("PUT", _PATH, "os-server-tags:update_all", since=26)
def replace(request: Request) -> dict[str, Any]:
    """Set all tags."""
    wanted = read(OfTags, request.body, "tags").tags
    return {"tags": _change(request, lambda _: list(dict.fromkeys(wanted)))}


@router.route("DELETE", _PATH, "os-server-tags:delete_all", since=26)
def clear(request: Request) -> None:
    """Remove all tags."""
    _change(request, lambda _: [])


@router.route("GET", _PATH + "/{tag}", "os-server-tags:show", since=26)
def check(request: Request) -> None:
    """Tell whether a server has a tag: 204 or 404."""
    if request.path["tag"] not in lookup.get(request.path["server"]).tags:
        raise _no_tag(request)


@router.route("PUT", _PATH + "/{tag}", "os-server-tags:update", since=26)
def add(request: Request) -> Reply:
    """Give a server a tag: 201, or 204 when it has it."""
    tag = request.path["tag"]
    read(OfTags, {"tags": [tag]}, "tag")
    had = tag in lookup.get(request.path["server"]).tags
    _change(request, lambda before: before if tag in before else [*before, tag])
    where = url(request, "servers", request.path["server"], "tags", quote(tag))
    return Reply(204 if had else 201, None, {"Location": where})


@router.route("DELETE", _PATH + "/{tag}", "os-server-tags:delete", since=26)
def remove(request: Request) -> None:
    """Take a tag from a server."""
    tag = request.path["tag"]
    if tag not in lookup.get(request.path["server"]).tags:
        raise _no_tag(request)
    _change(request, lambda before: [kept for kept in before if kept != tag])


def _change(request: Request, change: Callable[[list[str]], list[str]]) -> list[str]:
    found = lookup.get_in_cell(request.path["server"])

    def changed(instance: Instance) -> dict[str, Any]:
        tags = change(instance.tags)
        if len(tags) > MOST:
            raise HttpError(400, f"The number of tags exceeded the per-server limit {MOST}")
        return {"tags": tags}

    saved = Instance.modify(found.cell, found.uuid, changed)
    if saved is None:
        raise not_found("Instance", found.uuid)
    return saved.tags


def _no_tag(request: Request) -> HttpError:
    server, tag = request.path["server"], request.path["tag"]
    return HttpError(404, f"Server {server} has no tag '{tag[:60]}'")
