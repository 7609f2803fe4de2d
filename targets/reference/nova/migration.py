"""A server's move from one host to another, or to another flavor: the record of it, in its cell.

A move is written down before anything is done about it, and everybody who works on it finds in the
record whose turn it is. Each change is a conditional statement: of two who would go on, one does.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from targets.reference import context
from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.states import Vm
from targets.reference.nova.tables import INSTANCES, MIGRATIONS


class MoveConflict(Exception):
    """Somebody else has gone on with the migration, or ended it; nothing was changed."""


class MoveType(StrEnum):
    """Nova's words for kinds of migration."""

    RESIZE = "resize"
    MIGRATION = "migration"
    EVACUATION = "evacuation"
    LIVE_MIGRATION = "live-migration"

    @property
    def action(self) -> str:
        """What the user's action is called."""
        return _ACTIONS[self]


_ACTIONS = {
    MoveType.RESIZE: "resize",
    MoveType.MIGRATION: "migrate",
    MoveType.EVACUATION: "evacuate",
    MoveType.LIVE_MIGRATION: "live-migration",
}


class MoveStatus(StrEnum):
    """How far a migration is; the words differ from kind to kind."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    PRE_MIGRATING = "pre-migrating"
    MIGRATING = "migrating"
    POST_MIGRATING = "post-migrating"
    FINISHED = "finished"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    REVERTING = "reverting"
    REVERTED = "reverted"
    DONE = "done"
    COMPLETED = "completed"
    FAILED = "failed"
    ERROR = "error"


IN_PROGRESS = frozenset(MoveStatus) - {
    MoveStatus.CONFIRMED,
    MoveStatus.REVERTED,
    MoveStatus.DONE,
    MoveStatus.COMPLETED,
    MoveStatus.FAILED,
    MoveStatus.ERROR,
}
"""While it is so, both hosts have the server's resources in use."""

FLAVOR = ("flavor", "vcpus", "ram", "disk")
"""The columns of an instance that a resize changes."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of the record.

    ``dest_node`` is the host that the conductor chose, ``dest_compute`` the one that has claimed
    the server's resources; ``alternates`` are the hosts to try after that, None before they are
    known. ``old_vm_state`` is what the server is to be again. Flavors are as of :func:`flavor_of`.
    A move to another cell has a record in each of the two; one that is ``rolling_back`` has failed
    and is not over yet (see :mod:`.cross_cell`).
    """

    cell: str
    id: int
    uuid: str
    instance: str
    migration_type: MoveType
    status: MoveStatus
    source_compute: str
    dest_node: str | None
    dest_compute: str | None
    requested_host: str | None
    source_cell: str
    dest_cell: str | None
    rolling_back: bool
    alternates: list[str] | None
    old_flavor: dict[str, Any]
    new_flavor: dict[str, Any]
    old_vm_state: Vm
    user_id: str
    project_id: str
    created_at: str
    updated_at: str

    @property
    def hosts(self) -> frozenset[str]:
        """The source, and who has claimed what it will use."""
        return frozenset(filter(None, (self.source_compute, self.dest_compute)))

    @property
    def is_cross_cell(self) -> bool:
        """Whether its destination is in another cell than its source."""
        return self.dest_cell not in (None, self.source_cell)

    @staticmethod
    def get(cell: str, uuid: str) -> Migration | None:
        """Return a migration, None when there is none."""
        found = Migration.find(cell, uuid=uuid)
        return found[0] if found else None

    @staticmethod
    def find(cell: str, *conditions: sa.ColumnElement[bool], **equal: object) -> list[Migration]:
        """Return the migrations that are so, the latest last."""
        query = sa.select(MIGRATIONS).filter_by(**equal).where(*conditions)
        with databases.cell(cell).read() as connection:
            rows = connection.execute(query.order_by(MIGRATIONS.c.id))
            return [_from_row(cell, row) for row in rows]

    @staticmethod
    def latest_of_host(cell: str, host: str) -> list[Migration]:
        """Return the migrations from or to a host after which their instance had no other one."""
        later = MIGRATIONS.alias("later")
        latest = sa.select(sa.func.max(later.c.id)).where(later.c.instance == MIGRATIONS.c.instance)
        columns = (MIGRATIONS.c.source_compute, MIGRATIONS.c.dest_compute, MIGRATIONS.c.dest_node)
        here = sa.or_(*(column == host for column in columns))
        return Migration.find(cell, here, MIGRATIONS.c.id == latest.scalar_subquery())

    @staticmethod
    def of_instance(cell: str, instance: str) -> Migration | None:
        """Return the move that is in progress with an instance."""
        found = Migration.find(cell, in_progress(), instance=instance)
        return found[-1] if found else None

    @staticmethod
    def creating(
        instance: Instance,
        kind: MoveType,
        new_flavor: dict[str, Any],
        requested_host: str | None = None,
        status: MoveStatus = MoveStatus.PRE_MIGRATING,
        vm_state: Vm | None = None,
    ) -> tuple[str, Step]:
        """Return the id of a new migration, and the step that writes it down.

        The server is to be what it is again, or ``vm_state`` if that is given.
        """
        asked, now = context.current(), utc_now()
        row = {
            "uuid": str(uuid.uuid4()),
            "instance": instance.uuid,
            "migration_type": kind,
            "status": status,
            "source_compute": instance.host,
            "requested_host": requested_host,
            "source_cell": instance.cell,
            "rolling_back": False,
            "old_flavor": flavor_of(instance),
            "new_flavor": new_flavor,
            "old_vm_state": vm_state or instance.vm_state,
            "user_id": asked.user_id,
            "project_id": asked.project_id,
            "created_at": now,
            "updated_at": now,
        }

        def create(connection: sa.Connection) -> None:
            connection.execute(MIGRATIONS.insert(), row)

        return str(row["uuid"]), create

    def save(self, expected: Collection[MoveStatus], **changes: Any) -> None:
        """Change columns, by a statement of its own.

        Raises:
            MoveConflict: its status is none of the expected ones, or its hosts have changed.
        """
        with databases.cell(self.cell).transaction() as connection:
            self.changing(expected, **changes)(connection)

    def forget_source(self) -> None:
        """Write down that the source of an evacuation has forgotten the server; twice is as good.

        Raises:
            MoveConflict: it was not evacuated, or that is not over yet.
        """
        self.save({MoveStatus.DONE, MoveStatus.COMPLETED}, status=MoveStatus.COMPLETED)

    def changing(self, expected: Collection[MoveStatus], **changes: Any) -> Step:
        """Return :meth:`save` as a part of another transaction."""
        statement = (
            MIGRATIONS.update()
            .filter_by(uuid=self.uuid, dest_node=self.dest_node, dest_compute=self.dest_compute)
            .where(MIGRATIONS.c.status.in_(expected))
            .values(updated_at=utc_now(), **changes)
        )

        def change(connection: sa.Connection) -> None:
            if connection.execute(statement).rowcount != 1:
                raise MoveConflict(f"migration {self.uuid} is not {self.status} any more")

        return change


def flavor_of(instance: Instance) -> dict[str, Any]:
    """Return what an instance has of its flavor: its columns, and what describes it beside them."""
    columns = {name: getattr(instance, name) for name in FLAVOR}
    return {**columns, "described": instance.attributes.flavor}


def becoming(instance: str, flavor: dict[str, Any]) -> Step:
    """Return the step that gives an instance another flavor."""

    def become(connection: sa.Connection) -> None:
        row = INSTANCES.c.uuid == instance
        kept = connection.execute(sa.select(INSTANCES.c.attributes).where(row)).scalar_one()
        values = {name: flavor[name] for name in FLAVOR}
        values["attributes"] = {**kept, "flavor": flavor["described"]}
        connection.execute(INSTANCES.update().where(row).values(values))

    return become


def in_progress() -> sa.ColumnElement[bool]:
    """Say that a migration is not over."""
    return MIGRATIONS.c.status.in_(IN_PROGRESS)


def _from_row(cell: str, row: sa.Row[Any]) -> Migration:
    typed = {
        "migration_type": MoveType(row.migration_type),
        "status": MoveStatus(row.status),
        "old_vm_state": Vm(row.old_vm_state),
    }
    return Migration(cell=cell, **{**row._mapping, **typed})
