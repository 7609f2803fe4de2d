"""Groups of hosts with something in common, an availability zone for example."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.tables import AGGREGATE_HOSTS, AGGREGATE_METADATA, AGGREGATES

ZONE = "availability_zone"
"""The metadata that makes an aggregate a zone."""
DEFAULT_ZONE = "nova"
"""The zone of a host that is in no other."""


class AggregateExists(Exception):
    """There is one of this name."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Some hosts, and what is said of them."""

    id: int
    uuid: str
    name: str
    created_at: str
    updated_at: str | None
    hosts: tuple[str, ...]
    metadata: dict[str, str]

    @property
    def zone(self) -> str | None:
        """The availability zone that its hosts are in, None when it makes none."""
        return self.metadata.get(ZONE)


def get(aggregate_id: int) -> Aggregate | None:
    """Return an aggregate, None when there is none."""
    found = find(AGGREGATES.c.id == aggregate_id)
    return found[0] if found else None


def find(*where: sa.ColumnElement[bool]) -> list[Aggregate]:
    """Return the aggregates of which this is true."""
    with databases.api().read() as connection:
        rows = connection.execute(
            sa.select(AGGREGATES).where(*where).order_by(AGGREGATES.c.id)
        ).all()
        hosts = connection.execute(
            sa.select(AGGREGATE_HOSTS).order_by(AGGREGATE_HOSTS.c.host)
        ).all()
        said = connection.execute(sa.select(AGGREGATE_METADATA)).all()
    return [
        Aggregate(
            **row._mapping,
            hosts=tuple(host.host for host in hosts if host.aggregate == row.id),
            metadata={item.key: item.value for item in said if item.aggregate == row.id},
        )
        for row in rows
    ]


def create(name: str, zone: str | None) -> Aggregate:
    """Make an aggregate without hosts.

    Raises:
        AggregateExists: there is one of this name.
    """
    row = {"uuid": str(uuid.uuid4()), "name": name, "created_at": utc_now()}
    try:
        with databases.api().transaction() as connection:
            made = connection.execute(AGGREGATES.insert().values(row).returning(AGGREGATES.c.id))
            aggregate_id = made.scalar_one()
            if zone is not None:
                said = {"aggregate": aggregate_id, "key": ZONE, "value": zone}
                connection.execute(AGGREGATE_METADATA.insert(), said)
    except IntegrityError:
        raise AggregateExists(f"Aggregate {name} already exists.") from None
    (found,) = find(AGGREGATES.c.id == aggregate_id)
    return found


def rename(aggregate_id: int, name: str) -> None:
    """Give an aggregate another name.

    Raises:
        AggregateExists: there is one of this name.
    """
    change = AGGREGATES.update().filter_by(id=aggregate_id).values(name=name, updated_at=utc_now())
    try:
        with databases.api().transaction() as connection:
            connection.execute(change)
    except IntegrityError:
        raise AggregateExists(f"Aggregate {name} already exists.") from None


def set_metadata(aggregate_id: int, said: Mapping[str, str | None]) -> None:
    """Set metadata of an aggregate, which keeps the rest; None takes away."""
    rows = [
        {"aggregate": aggregate_id, "key": key, "value": value}
        for key, value in said.items()
        if value is not None
    ]
    replaced = AGGREGATE_METADATA.c.key.in_(said)
    gone = AGGREGATE_METADATA.delete().filter_by(aggregate=aggregate_id).where(replaced)
    seen = AGGREGATES.update().filter_by(id=aggregate_id).values(updated_at=utc_now())
    with databases.api().transaction() as connection:
        connection.execute(gone)
        if rows:
            connection.execute(AGGREGATE_METADATA.insert(), rows)
        connection.execute(seen)


def add_host(aggregate_id: int, host: str) -> bool:
    """Put a host into an aggregate; False when it is there."""
    try:
        with databases.api().transaction() as connection:
            row = {"aggregate": aggregate_id, "host": host}
            connection.execute(AGGREGATE_HOSTS.insert(), row)
    except IntegrityError:
        return False
    return True


def remove_host(aggregate_id: int, host: str) -> bool:
    """Take a host out of an aggregate; False when it is not there."""
    gone = AGGREGATE_HOSTS.delete().filter_by(aggregate=aggregate_id, host=host)
    with databases.api().transaction() as connection:
        return connection.execute(gone).rowcount == 1


def destroy(aggregate_id: int) -> bool:
    """Remove an aggregate that has no host. True for the one caller who did."""
    hosts = sa.select(AGGREGATE_HOSTS.c.host).filter_by(aggregate=aggregate_id)
    gone = AGGREGATES.delete().filter_by(id=aggregate_id).where(~hosts.exists())
    with databases.api().transaction() as connection:
        return connection.execute(gone).rowcount == 1


def zones() -> dict[str, str]:
    """Return the zone of each host that is in one: host → zone."""
    of_host = AGGREGATE_HOSTS.c.aggregate == AGGREGATE_METADATA.c.aggregate
    query = sa.select(AGGREGATE_HOSTS.c.host, AGGREGATE_METADATA.c.value).join(
        AGGREGATE_METADATA, of_host
    )
    with databases.api().read() as connection:
        rows = connection.execute(query.where(AGGREGATE_METADATA.c.key == ZONE))
        return {row.host: row.value for row in rows}
