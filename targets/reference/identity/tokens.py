"""Who gets a token, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from targets.reference import tokens
from targets.reference.identity.catalog import catalog
from targets.reference.identity.store import PROJECTS, SYSTEM, USERS, Store, is_password, names
from targets.reference.web import HttpError

DOMAIN = {"id": "default", "name": "Default"}
REFUSAL = "The request you have made requires authentication."


def authenticate(store: Store, auth: Mapping[str, Any]) -> str:
    """Return a token for who shows a password, or a token, in the scope that he asks for.

    Raises:
        HttpError: 401.
    """
    try:
        user, scoped = _user(store, auth["identity"])
        if scoped is not None and "scope" not in auth:
            return tokens.issue(user["id"], scoped.project_id, scoped.roles, system=scoped.system)
        return _scoped(store, user, auth.get("scope", "unscoped"))
    except (tokens.InvalidToken, KeyError, TypeError, AttributeError):
        raise HttpError(401, REFUSAL) from None


def body(store: Store, encoded: str) -> dict[str, Any]:
    """Return what a token says, in the form of the answer to an authentication."""
    token = tokens.verify(encoded)
    users = store.find(USERS, id=token.user_id)
    shown: dict[str, Any] = {
        "methods": ["password"],
        "user": {
            "id": token.user_id,
            "name": users[0]["name"] if users else token.user_id,
            "domain": DOMAIN,
            "password_expires_at": None,
        },
        "issued_at": _iso(token.issued_at),
        "expires_at": _iso(token.expires_at),
        "audit_ids": [],
    }
    if token.system:
        shown["system"] = {"all": True}
    if token.project_id:
        projects = store.find(PROJECTS, id=token.project_id)
        name = projects[0]["name"] if projects else token.project_id
        shown["project"] = {"id": token.project_id, "name": name, "domain": DOMAIN}
        shown["is_domain"] = False
    if token.roles:
        known = {role["name"]: role["id"] for role in store.all_roles()}
        shown["roles"] = [{"id": known.get(role, role), "name": role} for role in token.roles]
        shown["catalog"] = catalog()
    return {"token": shown}


def _user(store: Store, identity: Any) -> tuple[dict[str, Any], tokens.Token | None]:
    if "token" in identity["methods"]:
        token = tokens.verify(str(identity["token"]["id"]))
        users = store.find(USERS, id=token.user_id, enabled=True)
        if not users:
            raise HttpError(401, REFUSAL)
        return users[0], token
    shown = identity["password"]["user"]
    wanted = {"id": shown["id"]} if "id" in shown else {"name": shown["name"]}
    if not all(isinstance(value, str) for value in wanted.values()):
        raise HttpError(401, REFUSAL)
    users = store.find(USERS, **wanted, enabled=True) if _in_our_domain(shown) else []
    if not users or not is_password(users[0], shown.get("password")):
        raise HttpError(401, REFUSAL)
    return users[0], None


def _scoped(store: Store, user: dict[str, Any], scope: Any) -> str:
    if scope == "unscoped":
        default = user["default_project_id"]
        roles = names(store.roles(user["id"], default)) if default else ()
        return tokens.issue(user["id"], default if roles else "", roles)
    if "system" in scope:
        roles = names(store.roles(user["id"], SYSTEM))
        project = ""
    else:
        wanted = scope["project"]
        key = {"id": str(wanted["id"])} if "id" in wanted else {"name": str(wanted["name"])}
        projects = store.find(PROJECTS, **key, enabled=True) if _in_our_domain(wanted) else []
        project = projects[0]["id"] if projects else ""
        roles = names(store.roles(user["id"], project)) if project else ()
    if not roles:
        raise HttpError(401, REFUSAL)
    return tokens.issue(user["id"], project, roles, system=not project)


def _in_our_domain(shown: Mapping[str, Any]) -> bool:
    domain = shown.get("domain", DOMAIN)
    said = (domain.get("id"), domain.get("name"))
    return "id" in shown or DOMAIN["id"] == said[0] or str(said[1]).lower() == "default"


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
