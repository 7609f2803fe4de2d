"""The routes of the network service, and what clients may send it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from targets.reference import config, context
from targets.reference.database import open_database
from targets.reference.network.store import METADATA, NETWORKS, PORTS, SUBNETS, Store
from targets.reference.policy import Policy, member, reader
from targets.reference.schema import Boolean, Schema, Text255, read_body
from targets.reference.web import Api, HttpError, Reply, Request, not_found, serve

POLICY = Policy(
    "rule:{} is disallowed by policy",
    {
        f"{action}_{what}": reader if action == "get" else member
        for what in ("network", "subnet", "port")
        for action in ("get", "create", "update", "delete")
    }
    | {"get_other": reader},
)
_EXTENSIONS = {
    "binding": "Port Binding",
    "security-group": "security-group",
    "standard-attr-timestamp": "Resource timestamps",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-tag": "Tag support for resources with standard attribute",
}
_Id = Annotated[str, Field(max_length=255)]


class NewNetwork(Schema, extra="ignore"):
    """A network as it is made."""

    name: Text255 = ""
    description: Text255 = ""
    admin_state_up: Boolean = True
    shared: Boolean = False
    project_id: _Id | None = None
    tenant_id: _Id | None = None


class NetworkChange(Schema, extra="ignore"):
    """What can be changed of a network."""

    name: Text255 | None = None
    description: Text255 | None = None
    admin_state_up: Boolean | None = None


class NewSubnet(Schema, extra="ignore"):
    """A subnet as it is made."""

    network_id: _Id
    cidr: Annotated[str, Field(max_length=64)]
    ip_version: Literal[4, 6] = 4
    name: Text255 = ""
    description: Text255 = ""
    gateway_ip: Annotated[str, Field(max_length=64)] | None = ""
    enable_dhcp: Boolean = True
    project_id: _Id | None = None
    tenant_id: _Id | None = None


class SubnetChange(Schema, extra="ignore"):
    """What can be changed of a subnet."""

    name: Text255 | None = None
    description: Text255 | None = None
    enable_dhcp: Boolean | None = None


class PortChange(Schema, extra="ignore"):
    """What can be changed of a port."""

    name: Text255 | None = None
    device_id: _Id | None = None
    device_owner: _Id | None = None
    host: _Id | None = Field(None, alias="binding:host_id")


class NewPort(PortChange, extra="ignore"):
    """A port as it is made."""

    network_id: _Id
    project_id: _Id | None = None
    tenant_id: _Id | None = None


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Neutron's shape."""
    kind = error.code or "HTTPError"
    return {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}


def api(store: Store) -> Api:
    """Return the routes."""
    api = Api(error_body)
    _discovery(api)
    _networks(api, store)
    _subnets(api, store)
    _ports(api, store)
    for plural, singular in (
        ("availability_zones", "availability_zone"),
        ("security-groups", "security_group"),
        ("floatingips", "floatingip"),
        ("routers", "router"),
    ):
        _nothing(api, plural, singular)
    return api


def _discovery(api: Api) -> None:
    @api.route("GET", "/", public=True)
    def versions(request: Request) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{request.base}/v2.0/"}]
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}

    @api.route("GET", "/v2.0", public=True)
    @api.route("GET", "/v2.0/", public=True)
    def resources(_: Request) -> dict[str, Any]:
        return {"resources": []}

    @api.route("GET", "/v2.0/extensions")
    def extensions(_: Request) -> dict[str, Any]:
        return {"extensions": [_extension(alias) for alias in _EXTENSIONS]}

    @api.route("GET", "/v2.0/extensions/{alias}")
    def extension(request: Request) -> dict[str, Any]:
        if request.path["alias"] not in _EXTENSIONS:
            raise HttpError(404, "The resource could not be found.", "HTTPNotFound")
        return {"extension": _extension(request.path["alias"])}


def _networks(api: Api, store: Store) -> None:
    @api.route("GET", "/v2.0/networks", allowed=POLICY.check("get_network"))
    def list_all(request: Request) -> dict[str, Any]:
        found = store.networks(**_equal(request, NETWORKS))
        return {"networks": _matching(request, found)}

    @api.route("POST", "/v2.0/networks", allowed=POLICY.check("create_network"))
    def create(request: Request) -> Reply:
        wanted = read_body(NewNetwork, request, "network")
        if wanted.shared and not context.current().is_admin:
            raise HttpError(
                403, "rule:create_network:shared is disallowed by policy", "PolicyNotAuthorized"
            )
        return Reply(201, {"network": store.create_network(_owned(wanted.model_dump()))})

    @api.route("GET", "/v2.0/networks/{key}", allowed=POLICY.check("get_network"))
    def show(request: Request) -> dict[str, Any]:
        return {"network": store.network(request.path["key"])}

    @api.route("PUT", "/v2.0/networks/{key}", allowed=POLICY.check("update_network"))
    def update(request: Request) -> dict[str, Any]:
        changes = read_body(NetworkChange, request, "network").model_dump(exclude_none=True)
        return {"network": store.update_network(request.path["key"], changes)}

    @api.route("DELETE", "/v2.0/networks/{key}", allowed=POLICY.check("delete_network"))
    def delete(request: Request) -> None:
        store.delete_network(request.path["key"])


def _subnets(api: Api, store: Store) -> None:
    @api.route("GET", "/v2.0/subnets", allowed=POLICY.check("get_subnet"))
    def list_all(request: Request) -> dict[str, Any]:
        return {"subnets": _matching(request, store.subnets(**_equal(request, SUBNETS)))}

    @api.route("POST", "/v2.0/subnets", allowed=POLICY.check("create_subnet"))
    def create(request: Request) -> Reply:
        wanted = read_body(NewSubnet, request, "subnet")
        values = _owned(wanted.model_dump(exclude={"ip_version"}))
        try:
            subnet = ipaddress.ip_network(wanted.cidr, strict=False)
            if subnet.version != wanted.ip_version:
                raise ValueError(f"{subnet} is not of IP version {wanted.ip_version}")
            values["cidr"] = str(subnet)
            if wanted.gateway_ip == "":
                values["gateway_ip"] = str(subnet[min(1, subnet.num_addresses - 1)])
            elif wanted.gateway_ip is not None:
                values["gateway_ip"] = str(ipaddress.ip_address(wanted.gateway_ip))
        except ValueError as error:
            raise HttpError(400, f"Invalid input for operation: {error}.", "InvalidInput") from None
        return Reply(201, {"subnet": store.create_subnet(values)})

    @api.route("GET", "/v2.0/subnets/{key}", allowed=POLICY.check("get_subnet"))
    def show(request: Request) -> dict[str, Any]:
        return {"subnet": store.subnet(request.path["key"])}

    @api.route("PUT", "/v2.0/subnets/{key}", allowed=POLICY.check("update_subnet"))
    def update(request: Request) -> dict[str, Any]:
        changes = read_body(SubnetChange, request, "subnet").model_dump(exclude_none=True)
        return {"subnet": store.update_subnet(request.path["key"], changes)}

    @api.route("DELETE", "/v2.0/subnets/{key}", allowed=POLICY.check("delete_subnet"))
    def delete(request: Request) -> None:
        store.delete_subnet(request.path["key"])


def _ports(api: Api, store: Store) -> None:
    @api.route("GET", "/v2.0/ports", allowed=POLICY.check("get_port"))
    def list_all(request: Request) -> dict[str, Any]:
        return {"ports": _matching(request, store.ports(**_equal(request, PORTS)))}

    @api.route("POST", "/v2.0/ports", allowed=POLICY.check("create_port"))
    def create(request: Request) -> Reply:
        values = _owned(read_body(NewPort, request, "port").model_dump())
        texts = {n: values[n] or "" for n in ("name", "device_id", "device_owner", "host")}
        return Reply(201, {"port": store.create_port(values | texts)})

    @api.route("GET", "/v2.0/ports/{key}", allowed=POLICY.check("get_port"))
    def show(request: Request) -> dict[str, Any]:
        return {"port": store.port(request.path["key"])}

    @api.route("PUT", "/v2.0/ports/{key}", allowed=POLICY.check("update_port"))
    def update(request: Request) -> dict[str, Any]:
        wanted = read_body(PortChange, request, "port").model_dump(exclude_unset=True)
        changes = {name: value or "" for name, value in wanted.items()}
        return {"port": store.update_port(request.path["key"], changes)}

    @api.route("DELETE", "/v2.0/ports/{key}", allowed=POLICY.check("delete_port"))
    def delete(request: Request) -> None:
        store.delete_port(request.path["key"])


def _nothing(api: Api, plural: str, singular: str) -> None:
    """Serve a resource of which there is never any."""

    @api.route("GET", f"/v2.0/{plural}", allowed=POLICY.check("get_other"))
    def list_all(_: Request) -> dict[str, Any]:
        return {plural.replace("-", "_"): []}

    @api.route("GET", f"/v2.0/{plural}/{{key}}", allowed=POLICY.check("get_other"))
    def show(request: Request) -> dict[str, Any]:
        raise not_found(singular.capitalize(), request.path["key"])


def _extension(alias: str) -> dict[str, Any]:
    name = _EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": name, "links": [], "updated": ""}


def _owned(values: dict[str, Any]) -> dict[str, Any]:
    """Say whose a new record is: an administrator may make it for another project."""
    caller = context.current()
    wanted = values.pop("tenant_id", None) or values["project_id"] or caller.project_id
    if wanted != caller.project_id and not caller.is_admin:
        raise HttpError(403, "A record is made for its maker's project.", "PolicyNotAuthorized")
    return {**values, "project_id": wanted}


def _equal(request: Request, table: sa.Table) -> Mapping[str, str]:
    """Return the parts of the query that the database can answer: equal texts."""
    names = {"tenant_id": "project_id", "binding:host_id": "host"}
    texts = {c.name for c in table.columns if isinstance(c.type, sa.String)}
    return {
        column: value
        for key, value in request.query.items()
        if (column := names.get(key, key)) in texts
    }


def _matching(request: Request, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {key: value for key, value in request.query.items() if records and key in records[0]}
    return [
        record
        for record in records
        if all(str(record[key]).lower() == value.lower() for key, value in wanted.items())
    ]


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    store = Store(open_database("network", METADATA))
    store.add_private()
    serve(api(store), config.current())
