"""Network service (Neutron v2.0): one network with one subnet, and the ports on it."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

import sqlalchemy as sa

from targets.reference import config, context
from targets.reference.database import Database, open_database, utc_now
from targets.reference.tokens import PROJECT_ID
from targets.reference.web import Api, HttpError, Reply, Request, not_found, serve

METADATA = sa.MetaData()
PORTS = sa.Table(
    "ports",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("device_id", sa.String(255), nullable=False),
    sa.Column("device_owner", sa.String(255), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("mac_address", sa.String(17), nullable=False),
    sa.Column("ip_address", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
NETWORK_ID = "b3a5f3a2-6d2b-4f3f-8a0e-1d9b7c5e0a11"
"""The network that is there from the start, ``private``."""
SUBNET_ID = "c9e1f8d4-2b7a-4f6e-9d35-7a1b8e2c4f22"
SUBNET = ipaddress.ip_network("10.0.0.0/22")
GATEWAY = "10.0.0.1"
_FIRST_HOST = 10
_EXTENSIONS = {
    "binding": "Port Binding",
    "security-group": "security-group",
    "standard-attr-timestamp": "Resource timestamps",
}


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Neutron's shape."""
    kind = error.code or "HTTPError"
    return {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}


class Ports:
    """The ports: each is bound to a host or not, and owned by a device (an instance) or nobody."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find(self, **equal: str) -> list[dict[str, Any]]:
        """Return the ports whose columns have these values."""
        query = sa.select(PORTS).filter_by(**equal).order_by(PORTS.c.created_at, PORTS.c.id)
        with self._db.read() as connection:
            return [_view(row) for row in connection.execute(query)]

    def get(self, port_id: str) -> dict[str, Any]:
        """Return one port.

        Raises:
            HttpError: 404.
        """
        found = self.find(id=port_id)
        if not found:
            raise not_found("Port", port_id, "PortNotFound")
        return found[0]

    def create(self, name: str, device_id: str, device_owner: str, host: str) -> dict[str, Any]:
        """Make a port with the first free address.

        Raises:
            HttpError: 409, the subnet is full.
        """
        port_id, now = str(uuid.uuid4()), utc_now()
        with self._db.transaction() as connection:
            connection.execute(
                PORTS.insert(),
                {
                    "id": port_id,
                    "name": name,
                    "device_id": device_id,
                    "device_owner": device_owner,
                    "host": host,
                    "mac_address": f"fa:16:3e:{port_id[:2]}:{port_id[2:4]}:{port_id[4:6]}",
                    "ip_address": _free_address(connection),
                    "created_at": now,
                    "updated_at": now,
                },
            )
        return self.get(port_id)

    def update(self, port_id: str, changes: dict[str, str]) -> dict[str, Any]:
        """Bind a port, or change its owner.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            change = PORTS.update().filter_by(id=port_id).values(updated_at=utc_now(), **changes)
            if not connection.execute(change).rowcount:
                raise not_found("Port", port_id, "PortNotFound")
        return self.get(port_id)

    def delete(self, port_id: str) -> None:
        """Remove a port.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            if not connection.execute(PORTS.delete().filter_by(id=port_id)).rowcount:
                raise not_found("Port", port_id, "PortNotFound")


def _free_address(connection: sa.Connection) -> str:
    taken = set(connection.scalars(sa.select(PORTS.c.ip_address)))
    for number in range(_FIRST_HOST, SUBNET.num_addresses - 1):
        address = str(SUBNET[number])
        if address not in taken:
            return address
    raise HttpError(409, "No more IP addresses available.", "IpAddressGenerationFailure")


def _view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "network_id": NETWORK_ID,
        "project_id": PROJECT_ID,
        "tenant_id": PROJECT_ID,
        "admin_state_up": True,
        # A port becomes ACTIVE when the agent of its host has wired it: at once, here.
        "status": "ACTIVE" if row.host else "DOWN",
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "mac_address": row.mac_address,
        "fixed_ips": [{"subnet_id": SUBNET_ID, "ip_address": row.ip_address}],
        "binding:host_id": row.host,
        "binding:vif_type": "ovs" if row.host else "unbound",
        "binding:vnic_type": "normal",
        "binding:vif_details": {},
        "binding:profile": {},
        "security_groups": [],
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


_COLUMNS = {
    "name": "name",
    "device_id": "device_id",
    "device_owner": "device_owner",
    "binding:host_id": "host",
}
"""What a client may set: the field of a port and its column."""


def _columns(port: dict[str, Any]) -> dict[str, str]:
    return {column: port[key] or "" for key, column in _COLUMNS.items() if key in port}


def _matching(request: Request, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {key: value for key, value in request.query.items() if records and key in records[0]}
    return [
        record
        for record in records
        if all(str(record[key]).lower() == value.lower() for key, value in wanted.items())
    ]


def network() -> dict[str, Any]:
    """Return the network."""
    return {
        "id": NETWORK_ID,
        "name": "private",
        "status": "ACTIVE",
        "admin_state_up": True,
        "shared": True,
        "router:external": False,
        "mtu": 1450,
        "subnets": [SUBNET_ID],
        "project_id": PROJECT_ID,
        "tenant_id": PROJECT_ID,
    }


def subnet() -> dict[str, Any]:
    """Return the subnet."""
    return {
        "id": SUBNET_ID,
        "name": "private-subnet",
        "network_id": NETWORK_ID,
        "ip_version": 4,
        "cidr": str(SUBNET),
        "gateway_ip": GATEWAY,
        "enable_dhcp": True,
        "allocation_pools": [{"start": str(SUBNET[_FIRST_HOST]), "end": str(SUBNET[-2])}],
        "project_id": PROJECT_ID,
        "tenant_id": PROJECT_ID,
    }


def api(ports: Ports) -> Api:
    """Return the routes."""
    api = Api(error_body)

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
        return {
            "extensions": [
                {"alias": alias, "name": name, "description": name, "links": [], "updated": ""}
                for alias, name in _EXTENSIONS.items()
            ]
        }

    def built_in(plural: str, singular: str, records: list[dict[str, Any]]) -> None:
        @api.route("GET", f"/v2.0/{plural}")
        def list_all(request: Request) -> dict[str, Any]:
            return {plural: _matching(request, records)}

        @api.route("GET", f"/v2.0/{plural}/{{record_id}}")
        def show(request: Request) -> dict[str, Any]:
            for record in records:
                if record["id"] == request.path["record_id"]:
                    return {singular: record}
            raise not_found(singular.capitalize(), request.path["record_id"])

    built_in("networks", "network", [network()])
    built_in("subnets", "subnet", [subnet()])
    built_in("security-groups", "security_group", [])
    built_in("floatingips", "floatingip", [])
    built_in("routers", "router", [])

    @api.route("GET", "/v2.0/ports")
    def list_ports(request: Request) -> dict[str, Any]:
        columns = {**_COLUMNS, "id": "id"}
        equal = {columns[key]: value for key, value in request.query.items() if key in columns}
        return {"ports": _matching(request, ports.find(**equal))}

    @api.route("POST", "/v2.0/ports")
    def create(request: Request) -> Reply:
        port = request.body_of("port")
        if port.get("network_id") != NETWORK_ID:
            raise not_found("Network", str(port.get("network_id")), "NetworkNotFound")
        values = dict.fromkeys(_COLUMNS.values(), "") | _columns(port)
        return Reply(201, {"port": ports.create(**values)})

    @api.route("GET", "/v2.0/ports/{port_id}")
    def show(request: Request) -> dict[str, Any]:
        return {"port": ports.get(request.path["port_id"])}

    @api.route("PUT", "/v2.0/ports/{port_id}")
    def update(request: Request) -> dict[str, Any]:
        return {"port": ports.update(request.path["port_id"], _columns(request.body_of("port")))}

    @api.route("DELETE", "/v2.0/ports/{port_id}")
    def delete(request: Request) -> None:
        ports.delete(request.path["port_id"])

    return api


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    serve(api(Ports(open_database("network", METADATA))), config.current())
