"""The networks, their subnets and the ports.

A port is bound to a host or not, and owned by a device (an instance) or nobody. Each change is one
transaction, so two ports never get one address, and no network goes while a port is on it.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference import context
from targets.reference.database import Database, utc_now
from targets.reference.policy import owns
from targets.reference.tokens import PROJECT_ID
from targets.reference.web import HttpError, not_found

METADATA = sa.MetaData()
NETWORKS = sa.Table(
    "networks",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
SUBNETS = sa.Table(
    "subnets",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("network_id", sa.ForeignKey("networks.id"), nullable=False),
    sa.Column("cidr", sa.String(64), nullable=False),
    sa.Column("gateway_ip", sa.String(64)),
    sa.Column("enable_dhcp", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
PORTS = sa.Table(
    "ports",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("network_id", sa.ForeignKey("networks.id"), nullable=False, index=True),
    sa.Column("subnet_id", sa.ForeignKey("subnets.id")),
    sa.Column("device_id", sa.String(255), nullable=False, index=True),
    sa.Column("device_owner", sa.String(255), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("mac_address", sa.String(17), nullable=False),
    sa.Column("ip_address", sa.String(64)),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
    sa.UniqueConstraint("subnet_id", "ip_address"),
)
NETWORK_ID = "b3a5f3a2-6d2b-4f3f-8a0e-1d9b7c5e0a11"
"""The network that is there from the start, ``private``: everybody may use it."""
SUBNET_ID = "c9e1f8d4-2b7a-4f6e-9d35-7a1b8e2c4f22"
SUBNET = "10.0.0.0/22"
FIRST_HOST = 10
"""The addresses before it are kept for gateways and the like."""

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
View = Callable[[sa.Row[Any], sa.Connection], dict[str, Any]]


class Store:
    """All records. What belongs to another project, and is not shared, is not found."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_private(self) -> None:
        """Make the network that is there from the start, unless it is there."""
        now = utc_now()
        common = {
            "description": "",
            "project_id": PROJECT_ID,
            "created_at": now,
            "updated_at": now,
        }
        with self._db.transaction() as connection:
            if connection.execute(sa.select(NETWORKS.c.id).filter_by(id=NETWORK_ID)).first():
                return
            network = {"id": NETWORK_ID, "name": "private", "shared": True, "admin_state_up": True}
            subnet = {
                "id": SUBNET_ID,
                "name": "private-subnet",
                "network_id": NETWORK_ID,
                "cidr": SUBNET,
                "gateway_ip": "10.0.0.1",
                "enable_dhcp": True,
            }
            connection.execute(NETWORKS.insert(), network | common)
            connection.execute(SUBNETS.insert(), subnet | common)

    # ------------------------------------------------------------------ networks and subnets

    def networks(self, **equal: object) -> list[dict[str, Any]]:
        """Return the networks whose columns have these values, the first ones first."""
        return self._find(NETWORKS, _network_view, equal, shared=True)

    def subnets(self, **equal: object) -> list[dict[str, Any]]:
        """Return the subnets whose columns have these values."""
        return self._find(SUBNETS, _subnet_view, equal, shared=True)

    def network(self, network_id: str) -> dict[str, Any]:
        """Return one network.

        Raises:
            HttpError: 404.
        """
        return _one(self.networks(id=network_id), "Network", network_id)

    def subnet(self, subnet_id: str) -> dict[str, Any]:
        """Return one subnet.

        Raises:
            HttpError: 404.
        """
        return _one(self.subnets(id=subnet_id), "Subnet", subnet_id)

    def create_network(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make a network without subnets."""
        return self.network(self._insert(NETWORKS, values))

    def create_subnet(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make a subnet of a network.

        Raises:
            HttpError: 404, there is no such network; 400, the addresses are those of another one.
        """
        self.network(values["network_id"])
        wanted = ipaddress.ip_network(values["cidr"])
        for other in self.subnets(network_id=values["network_id"]):
            there = ipaddress.ip_network(other["cidr"])
            if there.version == wanted.version and there.overlaps(wanted):
                raise HttpError(
                    400,
                    f"Invalid input for operation: Requested subnet with cidr: {wanted} for network"
                    f" {values['network_id']} overlaps with another subnet.",
                    "InvalidInput",
                )
        return self.subnet(self._insert(SUBNETS, values))

    def update_network(self, network_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a network of the caller's.

        Raises:
            HttpError: 404; 403, it is only shared with him.
        """
        _see_that_it_is_his(self.network(network_id))
        self._update(NETWORKS, network_id, changes)
        return self.network(network_id)

    def update_subnet(self, subnet_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a subnet of the caller's.

        Raises:
            HttpError: 404; 403, it is only shared with him.
        """
        _see_that_it_is_his(self.subnet(subnet_id))
        self._update(SUBNETS, subnet_id, changes)
        return self.subnet(subnet_id)

    def delete_network(self, network_id: str) -> None:
        """Remove a network and its subnets.

        Raises:
            HttpError: 404; 403, it is only shared with the caller; 409, a port is on it.
        """
        _see_that_it_is_his(self.network(network_id))
        try:
            with self._db.transaction() as connection:
                _see_that_no_port_is_there(connection, "network", network_id)
                connection.execute(SUBNETS.delete().filter_by(network_id=network_id))
                connection.execute(NETWORKS.delete().filter_by(id=network_id))
        except IntegrityError:
            raise _in_use("network", network_id) from None

    def delete_subnet(self, subnet_id: str) -> None:
        """Remove a subnet.

        Raises:
            HttpError: 404; 403, it is only shared with the caller; 409, a port is on it.
        """
        _see_that_it_is_his(self.subnet(subnet_id))
        try:
            with self._db.transaction() as connection:
                _see_that_no_port_is_there(connection, "subnet", subnet_id)
                connection.execute(SUBNETS.delete().filter_by(id=subnet_id))
        except IntegrityError:
            raise _in_use("subnet", subnet_id) from None

    # ------------------------------------------------------------------ ports

    def ports(self, **equal: object) -> list[dict[str, Any]]:
        """Return the ports whose columns have these values."""
        return self._find(PORTS, _port_view, equal)

    def port(self, port_id: str) -> dict[str, Any]:
        """Return one port.

        Raises:
            HttpError: 404.
        """
        return _one(self.ports(id=port_id), "Port", port_id)

    def create_port(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make a port with the first free address of its network's first subnet.

        Raises:
            HttpError: 404, there is no such network; 409, the subnet is full.
        """
        self.network(values["network_id"])
        port_id, now = str(uuid.uuid4()), utc_now()
        with self._db.transaction() as connection:
            subnet, address = _free_address(connection, values["network_id"])
            row = {
                "id": port_id,
                "subnet_id": subnet,
                "ip_address": address,
                "mac_address": f"fa:16:3e:{port_id[:2]}:{port_id[2:4]}:{port_id[4:6]}",
                "created_at": now,
                "updated_at": now,
            }
            connection.execute(PORTS.insert(), {**row, **values})
        return self.port(port_id)

    def update_port(self, port_id: str, changes: Mapping[str, str]) -> dict[str, Any]:
        """Bind a port, or change its owner.

        Raises:
            HttpError: 404.
        """
        self.port(port_id)
        if not self._update(PORTS, port_id, changes):
            raise not_found("Port", port_id, "PortNotFound")
        return self.port(port_id)

    def delete_port(self, port_id: str) -> None:
        """Remove a port.

        Raises:
            HttpError: 404.
        """
        self.port(port_id)
        with self._db.transaction() as connection:
            if not connection.execute(PORTS.delete().filter_by(id=port_id)).rowcount:
                raise not_found("Port", port_id, "PortNotFound")

    # ------------------------------------------------------------------ steps

    def _find(
        self, table: sa.Table, view: View, equal: Mapping[str, object], shared: bool = False
    ) -> list[dict[str, Any]]:
        query = sa.select(table).filter_by(**equal)
        caller = context.current()
        if not caller.is_admin:
            his = table.c.project_id == caller.project_id
            if shared:
                common = sa.select(NETWORKS.c.id).where(NETWORKS.c.shared)
                key = table.c.id if table is NETWORKS else table.c.network_id
                his = sa.or_(his, key.in_(common))
            query = query.where(his)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(table.c.created_at, table.c.id)).all()
            return [view(row, connection) for row in rows]

    def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> str:
        key, now = str(uuid.uuid4()), utc_now()
        row = {"id": key, "created_at": now, "updated_at": now, **values}
        try:
            with self._db.transaction() as connection:
                connection.execute(table.insert(), row)
        except IntegrityError:
            raise not_found("Network", values["network_id"], "NetworkNotFound") from None
        return key

    def _update(self, table: sa.Table, key: str, changes: Mapping[str, Any]) -> bool:
        change = table.update().filter_by(id=key).values(updated_at=utc_now(), **changes)
        with self._db.transaction() as connection:
            return connection.execute(change).rowcount == 1


def _one(found: list[dict[str, Any]], what: str, key: str) -> dict[str, Any]:
    if not found:
        raise not_found(what, key, f"{what}NotFound")
    return found[0]


def _see_that_it_is_his(found: Mapping[str, Any]) -> None:
    if not owns(found["project_id"]):
        raise HttpError(403, "rule:update_network is disallowed by policy", "PolicyNotAuthorized")


def _in_use(what: str, key: str) -> HttpError:
    return HttpError(
        409,
        f"Unable to complete operation on {what} {key}. There are one or more ports still in use on"
        f" the {what}.",
        f"{what.capitalize()}InUse",
    )


def _see_that_no_port_is_there(connection: sa.Connection, what: str, key: str) -> None:
    if connection.execute(sa.select(PORTS.c.id).filter_by(**{f"{what}_id": key})).first():
        raise _in_use(what, key)


def _free_address(connection: sa.Connection, network_id: str) -> tuple[str | None, str | None]:
    query = sa.select(SUBNETS).filter_by(network_id=network_id).order_by(SUBNETS.c.created_at)
    subnets = connection.execute(query).all()
    if not subnets:
        return None, None
    for row in subnets:
        subnet = ipaddress.ip_network(row.cidr)
        taken = set(connection.scalars(sa.select(PORTS.c.ip_address).filter_by(subnet_id=row.id)))
        taken.add(row.gateway_ip)
        first = FIRST_HOST if subnet.num_addresses > 2 * FIRST_HOST else 1
        for number in range(first, min(subnet.num_addresses - 1, 1 << 16)):
            address = str(subnet[number])
            if address not in taken:
                return row.id, address
    raise HttpError(409, "No more IP addresses available.", "IpAddressGenerationFailure")


def _network_view(row: sa.Row[Any], connection: sa.Connection) -> dict[str, Any]:
    subnets = sa.select(SUBNETS.c.id).filter_by(network_id=row.id).order_by(SUBNETS.c.created_at)
    return {
        **row._mapping,
        "tenant_id": row.project_id,
        "status": "ACTIVE",
        "router:external": False,
        "mtu": 1450,
        "subnets": list(connection.scalars(subnets)),
        "availability_zones": [],
        "availability_zone_hints": [],
        "port_security_enabled": True,
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "tags": [],
        "revision_number": 1,
    }


def _subnet_view(row: sa.Row[Any], _: sa.Connection) -> dict[str, Any]:
    subnet = ipaddress.ip_network(row.cidr)
    first = (
        FIRST_HOST if subnet.num_addresses > 2 * FIRST_HOST else min(1, subnet.num_addresses - 1)
    )
    last = max(subnet.num_addresses - 2, 0)
    return {
        **row._mapping,
        "tenant_id": row.project_id,
        "ip_version": subnet.version,
        "allocation_pools": [{"start": str(subnet[first]), "end": str(subnet[last])}],
        "dns_nameservers": [],
        "host_routes": [],
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "tags": [],
        "revision_number": 1,
    }


def _port_view(row: sa.Row[Any], _: sa.Connection) -> dict[str, Any]:
    addresses = [{"subnet_id": row.subnet_id, "ip_address": row.ip_address}]
    return {
        "id": row.id,
        "name": row.name,
        "description": "",
        "network_id": row.network_id,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "admin_state_up": True,
        # A port becomes ACTIVE when the agent of its host has wired it: at once, here.
        "status": "ACTIVE" if row.host else "DOWN",
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "mac_address": row.mac_address,
        "fixed_ips": addresses if row.ip_address else [],
        "binding:host_id": row.host,
        "binding:vif_type": "ovs" if row.host else "unbound",
        "binding:vnic_type": "normal",
        "binding:vif_details": {},
        "binding:profile": {},
        "security_groups": [],
        "allowed_address_pairs": [],
        "tags": [],
        "revision_number": 1,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
