"""Groups of servers that shall be together, or apart."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.tables import SERVER_GROUP_MEMBERS, SERVER_GROUPS

POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """A group, and the servers that were put into it, deleted ones included."""

    uuid: str
    name: str
    project_id: str
    user_id: str
    policy: str
    max_server_per_host: int | None
    created_at: str
    members: tuple[str, ...]

    @staticmethod
    def get(group: str) -> ServerGroup | None:
        """Return a group, None when there is none."""
        found = ServerGroup.find(uuid=group)
        return found[0] if found else None

    @staticmethod
    def of_instance(instance: str) -> ServerGroup | None:
        """Return the group of a server, None when it is in none."""
        query = sa.select(SERVER_GROUP_MEMBERS.c.server_group).filter_by(instance=instance)
        with databases.api().read() as connection:
            group = connection.scalar(query)
        return ServerGroup.get(group) if group else None

    @staticmethod
    def find(**equal: object) -> list[ServerGroup]:
        """Return the groups whose columns have these values."""
        query = sa.select(SERVER_GROUPS).filter_by(**equal)
        members = sa.select(SERVER_GROUP_MEMBERS).order_by(SERVER_GROUP_MEMBERS.c.instance)
        with databases.api().read() as connection:
            rows = connection.execute(query.order_by(SERVER_GROUPS.c.created_at)).all()
            in_group: dict[str, list[str]] = {row.uuid: [] for row in rows}
            wanted = members.where(SERVER_GROUP_MEMBERS.c.server_group.in_(in_group))
            for member in connection.execute(wanted):
                in_group[member.server_group].append(member.instance)
        return [ServerGroup(**row._mapping, members=tuple(in_group[row.uuid])) for row in rows]

    @staticmethod
    def create(
        name: str, project_id: str, user_id: str, policy: str, max_server_per_host: int | None
    ) -> ServerGroup:
        """Make an empty group."""
        row = {
            "uuid": str(uuid.uuid4()),
            "name": name,
            "project_id": project_id,
            "user_id": user_id,
            "policy": policy,
            "max_server_per_host": max_server_per_host,
            "created_at": utc_now(),
        }
        with databases.api().transaction() as connection:
            made = connection.execute(SERVER_GROUPS.insert().values(row).returning(SERVER_GROUPS))
            return ServerGroup(**made.one()._mapping, members=())

    @staticmethod
    def add(group: str, instance: str) -> None:
        """Put a server into a group; no matter if it is there, or the group gone."""
        row = {"server_group": group, "instance": instance}
        with suppress(IntegrityError), databases.api().transaction() as connection:
            connection.execute(SERVER_GROUP_MEMBERS.insert(), row)

    @staticmethod
    def destroy(group: str) -> bool:
        """Remove a group. True for the one caller who did."""
        with databases.api().transaction() as connection:
            gone = connection.execute(SERVER_GROUPS.delete().filter_by(uuid=group))
        return gone.rowcount == 1
