"""Version discovery, which asks for no token."""

from __future__ import annotations

from typing import Any

from targets.reference.nova.api import microversion
from targets.reference.web import Api, Request


def add_to(api: Api) -> None:
    """Have ``api`` tell its versions."""

    @api.route("GET", "/", public=True)
    def all_versions(request: Request) -> dict[str, Any]:
        return {"versions": [_version(request)]}

    @api.route("GET", "/v2.1", public=True)
    @api.route("GET", "/v2.1/", public=True)
    def one_version(request: Request) -> dict[str, Any]:
        return {"version": _version(request)}


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": microversion.text(microversion.LATEST),
        "min_version": microversion.text(microversion.OLDEST),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{request.base}/v2.1/"}],
    }
