"""The routes of the identity service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from targets.reference import config, context, tokens
from targets.reference.database import open_database
from targets.reference.identity import tokens as issuing
from targets.reference.identity.catalog import REGION, SERVICES, catalog
from targets.reference.identity.policy import POLICY
from targets.reference.identity.store import (
    METADATA,
    NO_PASSWORD,
    PROJECTS,
    ROLES,
    SYSTEM,
    USERS,
    Store,
    digest,
)
from targets.reference.policy import owns
from targets.reference.schema import Schema, read_body
from targets.reference.web import Api, HttpError, Reply, Request, serve

Name = Annotated[str, Field(min_length=1, max_length=64)]


class NewProject(Schema, extra="ignore"):
    """A project as it is made."""

    name: Name
    description: str = ""
    enabled: bool = True


class ProjectChange(Schema, extra="ignore"):
    """What can be changed of a project."""

    name: Name | None = None
    description: str | None = None
    enabled: bool | None = None


class NewUser(Schema, extra="ignore"):
    """A user as he is made."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    description: str | None = None
    email: str | None = None
    default_project_id: str | None = None
    enabled: bool = True
    password: str | None = None


class UserChange(Schema, extra="ignore"):
    """What can be changed of a user."""

    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    description: str | None = None
    email: str | None = None
    default_project_id: str | None = None
    enabled: bool | None = None
    password: str | None = None


class NewRole(Schema, extra="ignore"):
    """A role, as it is made or changed."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    description: str | None = None


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Keystone's shape."""
    title = HTTPStatus(error.status).phrase
    return {"error": {"code": error.status, "title": title, "message": error.message}}


def api(store: Store) -> Api:
    """Return the routes."""
    api = Api(error_body)
    _versions(api)
    _tokens(api, store)
    _records(api, store)
    _domains_and_services(api)
    _grants(api, store)
    return api


def _versions(api: Api) -> None:
    def version(request: Request) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{request.base}/v3/"}],
            "media-types": [],
        }

    @api.route("GET", "/", public=True)
    def versions(request: Request) -> Reply:
        return Reply(300, {"versions": {"values": [version(request)]}})

    @api.route("GET", "/v3", public=True)
    @api.route("GET", "/v3/", public=True)
    def one(request: Request) -> dict[str, Any]:
        return {"version": version(request)}


def _tokens(api: Api, store: Store) -> None:
    def subject(request: Request) -> str:
        encoded = request.headers.get("x-subject-token", "")
        try:
            tokens.verify(encoded)
        except tokens.InvalidToken:
            raise HttpError(404, "Could not find token.") from None
        return encoded

    @api.route("POST", "/v3/auth/tokens", public=True)
    def authenticate(request: Request) -> Reply:
        encoded = issuing.authenticate(store, request.body_of("auth"))
        return Reply(201, issuing.body(store, encoded), {"X-Subject-Token": encoded})

    @api.route("GET", "/v3/auth/tokens", allowed=POLICY.check("validate_token"))
    def validate(request: Request) -> Reply:
        encoded = subject(request)
        return Reply(200, issuing.body(store, encoded), {"X-Subject-Token": encoded})

    @api.route("DELETE", "/v3/auth/tokens", allowed=POLICY.check("revoke_token"))
    def revoke(request: Request) -> None:
        subject(request)

    @api.route("GET", "/v3/auth/catalog", allowed=POLICY.check("get_auth_catalog"))
    def list_catalog(request: Request) -> dict[str, Any]:
        return {"catalog": catalog(), "links": _links(request)}

    @api.route("GET", "/v3/auth/projects", allowed=POLICY.check("get_auth_projects"))
    def projects(request: Request) -> dict[str, Any]:
        found = store.projects_of(context.current().user_id)
        return _listed("projects", [_project(project, request) for project in found], request)

    @api.route("GET", "/v3/auth/system", allowed=POLICY.check("get_auth_projects"))
    def system(request: Request) -> dict[str, Any]:
        has = store.roles(context.current().user_id, SYSTEM)
        return {"system": [{"all": True}] if has else [], "links": _links(request)}


def _records(api: Api, store: Store) -> None:
    @api.route("POST", "/v3/projects", allowed=POLICY.check("create_project"))
    def create_project(request: Request) -> Reply:
        wanted = read_body(NewProject, request, "project")
        made = store.create(PROJECTS, wanted.model_dump())
        return Reply(201, {"project": _project(made, request)})

    @api.route("PATCH", "/v3/projects/{key}", allowed=POLICY.check("update_project"))
    def update_project(request: Request) -> dict[str, Any]:
        wanted = read_body(ProjectChange, request, "project")
        changed = store.update(PROJECTS, request.path["key"], wanted.model_dump(exclude_none=True))
        return {"project": _project(_there(changed, "project", request), request)}

    @api.route("GET", "/v3/projects", allowed=POLICY.check("list_projects"))
    def list_projects(request: Request) -> dict[str, Any]:
        found = store.find(PROJECTS, **_filters(request, "name", "enabled"))
        return _listed("projects", [_project(project, request) for project in found], request)

    @api.route("GET", "/v3/projects/{key}", allowed=POLICY.check("get_project"))
    def show_project(request: Request) -> dict[str, Any]:
        if not owns(request.path["key"]):
            raise HttpError(
                403, "You are not authorized to perform the requested action: identity:get_project."
            )
        return {"project": _project(_one(store, PROJECTS, "project", request), request)}

    @api.route("DELETE", "/v3/projects/{key}", allowed=POLICY.check("delete_project"))
    def delete_project(request: Request) -> None:
        _gone(store, PROJECTS, "project", request)

    @api.route("POST", "/v3/users", allowed=POLICY.check("create_user"))
    def create_user(request: Request) -> Reply:
        wanted = read_body(NewUser, request, "user").model_dump()
        wanted["password"] = digest(wanted["password"]) if wanted["password"] else NO_PASSWORD
        wanted["description"] = wanted["description"] or ""
        return Reply(201, {"user": _user(store.create(USERS, wanted), request)})

    @api.route("PATCH", "/v3/users/{key}", allowed=POLICY.check("update_user"))
    def update_user(request: Request) -> dict[str, Any]:
        changes = read_body(UserChange, request, "user").model_dump(exclude_none=True)
        if "password" in changes:
            changes["password"] = digest(changes["password"])
        changed = store.update(USERS, request.path["key"], changes)
        return {"user": _user(_there(changed, "user", request), request)}

    @api.route("GET", "/v3/users", allowed=POLICY.check("list_users"))
    def list_users(request: Request) -> dict[str, Any]:
        found = store.find(USERS, **_filters(request, "name", "enabled"))
        return _listed("users", [_user(user, request) for user in found], request)

    @api.route("GET", "/v3/users/{key}", allowed=POLICY.check("get_user"))
    def show_user(request: Request) -> dict[str, Any]:
        _only_himself_or_an_administrator(request, "get_user")
        return {"user": _user(_one(store, USERS, "user", request), request)}

    @api.route("GET", "/v3/users/{key}/projects", allowed=POLICY.check("list_user_projects"))
    def projects_of_user(request: Request) -> dict[str, Any]:
        _only_himself_or_an_administrator(request, "list_user_projects")
        found = store.projects_of(request.path["key"])
        return _listed("projects", [_project(project, request) for project in found], request)

    @api.route("DELETE", "/v3/users/{key}", allowed=POLICY.check("delete_user"))
    def delete_user(request: Request) -> None:
        _gone(store, USERS, "user", request)

    @api.route("POST", "/v3/roles", allowed=POLICY.check("create_role"))
    def create_role(request: Request) -> Reply:
        wanted = read_body(NewRole, request, "role")
        values = {"name": wanted.name, "description": wanted.description or ""}
        return Reply(201, {"role": _role(store.create(ROLES, values), request)})

    @api.route("GET", "/v3/roles", allowed=POLICY.check("list_roles"))
    def list_roles(request: Request) -> dict[str, Any]:
        found = store.find(ROLES, **_filters(request, "name"))
        return _listed("roles", [_role(role, request) for role in found], request)

    @api.route("GET", "/v3/roles/{key}", allowed=POLICY.check("get_role"))
    def show_role(request: Request) -> dict[str, Any]:
        return {"role": _role(_one(store, ROLES, "role", request), request)}

    @api.route("DELETE", "/v3/roles/{key}", allowed=POLICY.check("delete_role"))
    def delete_role(request: Request) -> None:
        _gone(store, ROLES, "role", request)


def _domains_and_services(api: Api) -> None:
    domain = {**issuing.DOMAIN, "description": "The default domain", "enabled": True, "links": {}}

    @api.route("GET", "/v3/domains", allowed=POLICY.check("list_domains"))
    def domains(request: Request) -> dict[str, Any]:
        wanted = request.query.get("name", domain["name"])
        return _listed("domains", [domain] if wanted == domain["name"] else [], request)

    @api.route("GET", "/v3/domains/{key}", allowed=POLICY.check("get_domain"))
    def show_domain(request: Request) -> dict[str, Any]:
        return {"domain": _there(domain if _is(domain, request) else None, "domain", request)}

    @api.route("GET", "/v3/services", allowed=POLICY.check("list_catalog"))
    def services(request: Request) -> dict[str, Any]:
        found = [
            {"id": key, "type": kind, "name": name, "enabled": True, "description": "", "links": {}}
            for key, (kind, name, _) in SERVICES.items()
        ]
        return _listed("services", found, request)

    @api.route("GET", "/v3/endpoints", allowed=POLICY.check("list_catalog"))
    def endpoints(request: Request) -> dict[str, Any]:
        found = [
            {**endpoint, "service_id": service["id"], "enabled": True, "links": {}}
            for service in catalog()
            for endpoint in service["endpoints"]
        ]
        return _listed("endpoints", found, request)

    @api.route("GET", "/v3/regions", allowed=POLICY.check("list_catalog"))
    def regions(request: Request) -> dict[str, Any]:
        region = {"id": REGION, "description": "", "parent_region_id": None}
        return _listed("regions", [region], request)


def _grants(api: Api, store: Store) -> None:
    def grants(path: str, scope_of: Any) -> None:
        @api.route("GET", path, allowed=POLICY.check("list_grants"))
        def list_grants(request: Request) -> dict[str, Any]:
            found = store.roles(request.path["user"], scope_of(request))
            return _listed("roles", [_role(role, request) for role in found], request)

        @api.route("GET", path + "/{role}", allowed=POLICY.check("check_grant"))
        def check(request: Request) -> None:
            path = request.path
            key = {"user": path["user"], "scope": scope_of(request), "role": path["role"]}
            if not store.assignments(**key):
                raise HttpError(404, "Could not find role assignment.")

        @api.route("PUT", path + "/{role}", allowed=POLICY.check("create_grant"))
        def assign(request: Request) -> None:
            for table, what in ((USERS, "user"), (ROLES, "role")):
                found = store.find(table, id=request.path[what])
                _there(found[0] if found else None, what, request, request.path[what])
            scope = scope_of(request)
            if scope != SYSTEM and not store.find(PROJECTS, id=scope):
                raise HttpError(404, f"Could not find project: {scope}.")
            store.assign(request.path["user"], scope, request.path["role"])

        @api.route("DELETE", path + "/{role}", allowed=POLICY.check("revoke_grant"))
        def unassign(request: Request) -> None:
            path = request.path
            if not store.unassign(path["user"], scope_of(request), path["role"]):
                raise HttpError(404, "Could not find role assignment.")

    grants("/v3/projects/{project}/users/{user}/roles", lambda request: request.path["project"])
    grants("/v3/system/users/{user}/roles", lambda _: SYSTEM)

    @api.route("GET", "/v3/role_assignments", allowed=POLICY.check("list_role_assignments"))
    def assignments(request: Request) -> dict[str, Any]:
        query = request.query
        names = {"user.id": "user", "role.id": "role", "scope.project.id": "scope"}
        wanted = {column: query[key] for key, column in names.items() if key in query}
        if "scope.system" in query:
            wanted["scope"] = SYSTEM
        found = [
            {
                "user": {"id": row["user"]},
                "role": {"id": row["role"]},
                "scope": {"system": {"all": True}}
                if row["scope"] == SYSTEM
                else {"project": {"id": row["scope"]}},
                "links": {},
            }
            for row in store.assignments(**wanted)
        ]
        return _listed("role_assignments", found, request)


def _only_himself_or_an_administrator(request: Request, action: str) -> None:
    caller = context.current()
    if not caller.is_admin and caller.user_id != request.path["key"]:
        raise HttpError(
            403, f"You are not authorized to perform the requested action: identity:{action}."
        )


def _filters(request: Request, *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: request.query[name] for name in names if name in request.query}
    if "enabled" in found:
        found["enabled"] = found["enabled"].lower() not in ("false", "0")
    return found


def _one(store: Store, table: sa.Table, what: str, request: Request) -> dict[str, Any]:
    found = store.find(table, id=request.path["key"])
    return _there(found[0] if found else None, what, request)


def _gone(store: Store, table: sa.Table, what: str, request: Request) -> None:
    if not store.delete(table, request.path["key"]):
        raise HttpError(404, f"Could not find {what}: {request.path['key']}.")


def _there(
    record: dict[str, Any] | None, what: str, request: Request, key: str = ""
) -> dict[str, Any]:
    if record is None:
        raise HttpError(404, f"Could not find {what}: {key or request.path['key']}.")
    return record


def _is(record: dict[str, Any], request: Request) -> bool:
    return bool(record["id"] == request.path["key"])


def _links(request: Request) -> dict[str, Any]:
    return {"self": request.base, "previous": None, "next": None}


def _listed(name: str, found: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    return {name: found, "links": _links(request)}


def _project(row: dict[str, Any], request: Request) -> dict[str, Any]:
    return {
        **row,
        "domain_id": "default",
        "parent_id": "default",
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{request.base}/v3/projects/{row['id']}"},
    }


def _user(row: dict[str, Any], request: Request) -> dict[str, Any]:
    shown = {key: value for key, value in row.items() if key != "password"}
    return {
        **shown,
        "domain_id": "default",
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{request.base}/v3/users/{row['id']}"},
    }


def _role(row: dict[str, Any], request: Request) -> dict[str, Any]:
    links = {"self": f"{request.base}/v3/roles/{row['id']}"}
    return {**row, "domain_id": None, "options": {}, "links": links}


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    store = Store(open_database("identity", METADATA))
    store.add_first()
    serve(api(store), config.current())
