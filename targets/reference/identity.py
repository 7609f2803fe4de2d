"""Identity service (Keystone v3): users, tokens and the catalogue. It keeps nothing.

One project, ``demo``; the users ``demo`` (role member), ``admin`` and ``service`` share one
password, which whoever starts the service makes up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hmac import compare_digest
from http import HTTPStatus
from typing import Any

from targets.reference import config, context, tokens
from targets.reference.web import Api, HttpError, Reply, Request, serve

ROLES: Mapping[str, tuple[str, ...]] = {
    "demo": ("member",),
    "admin": ("admin", "member"),
    "service": ("service",),
}
CATALOG: Mapping[str, tuple[str, str, str]] = {
    "identity": ("identity", "keystone", "/v3"),
    "api": ("compute", "nova", "/v2.1"),
    "image": ("image", "glance", ""),
    "network": ("network", "neutron", ""),
    "volume": ("block-storage", "cinder", "/v3"),
    "placement": ("placement", "placement", ""),
}
"""Service of ours: its type and name in the catalogue, and the path of its endpoint."""

_DOMAIN = {"id": "default", "name": "Default"}


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Keystone's shape."""
    title = HTTPStatus(error.status).phrase
    return {"error": {"code": error.status, "title": title, "message": error.message}}


def catalog() -> list[dict[str, Any]]:
    """Return the catalogue of the services that the configuration names."""
    endpoints = config.current().endpoints
    return [
        {
            "id": service,
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": f"{service}-public",
                    "interface": "public",
                    "region": "RegionOne",
                    "region_id": "RegionOne",
                    "url": endpoints[service] + path,
                }
            ],
        }
        for service, (kind, name, path) in CATALOG.items()
        if service in endpoints
    ]


def token_body(encoded: str) -> dict[str, Any]:
    """Return what a token says, in the form of the answer to an authentication."""
    token = tokens.verify(encoded)
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": token.user_id, "name": token.user_id, "domain": _DOMAIN},
            "project": {"id": token.project_id, "name": "demo", "domain": _DOMAIN},
            "is_domain": False,
            "roles": [{"id": role, "name": role} for role in token.roles],
            "issued_at": _iso(token.issued_at),
            "expires_at": _iso(token.expires_at),
            "audit_ids": [],
            "catalog": catalog(),
        }
    }


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _authenticate(identity: Mapping[str, Any]) -> str:
    methods = identity.get("methods") or []
    if "token" in methods:
        token = tokens.verify(str(identity.get("token", {}).get("id", "")))
        return tokens.issue(token.user_id, token.roles)
    user = identity.get("password", {}).get("user", {})
    name = user.get("name") or user.get("id")
    if name not in ROLES or not _is_password(user.get("password")):
        raise HttpError(401, "The request you have made requires authentication.")
    return tokens.issue(name, ROLES[name])


def _is_password(shown: object) -> bool:
    password = config.current().password.encode()
    # Compared in a time that tells nothing of how much of it is right.
    return bool(password) and compare_digest(str(shown).encode(errors="replace"), password)


def _subject(request: Request) -> str:
    encoded = request.headers.get("x-subject-token", "")
    try:
        tokens.verify(encoded)
    except tokens.InvalidToken:
        raise HttpError(404, "Could not find token.") from None
    return encoded


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{request.base}/v3/"}],
        "media-types": [],
    }


def api() -> Api:
    """Return the routes."""
    api = Api(error_body)

    @api.route("GET", "/", public=True)
    def versions(request: Request) -> Reply:
        return Reply(300, {"versions": {"values": [_version(request)]}})

    @api.route("GET", "/v3", public=True)
    @api.route("GET", "/v3/", public=True)
    def version(request: Request) -> dict[str, Any]:
        return {"version": _version(request)}

    @api.route("POST", "/v3/auth/tokens", public=True)
    def authenticate(request: Request) -> Reply:
        try:
            encoded = _authenticate(request.body_of("auth").get("identity", {}))
        except (tokens.InvalidToken, AttributeError):
            raise HttpError(401, "The request you have made requires authentication.") from None
        return Reply(201, token_body(encoded), {"X-Subject-Token": encoded})

    @api.route("GET", "/v3/auth/tokens")
    def validate(request: Request) -> Reply:
        encoded = _subject(request)
        return Reply(200, token_body(encoded), {"X-Subject-Token": encoded})

    @api.route("DELETE", "/v3/auth/tokens")
    def revoke(request: Request) -> None:
        _subject(request)

    @api.route("GET", "/v3/auth/catalog")
    def list_catalog(_: Request) -> dict[str, Any]:
        return {"catalog": catalog(), "links": {}}

    @api.route("GET", "/v3/projects")
    @api.route("GET", "/v3/auth/projects")
    def projects(_: Request) -> dict[str, Any]:
        project = {"id": tokens.PROJECT_ID, "name": "demo", "domain_id": "default", "enabled": True}
        return {"projects": [project], "links": {}}

    return api


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    serve(api(), config.current())
