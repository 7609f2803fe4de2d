"""A server's record in a cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference import context
from targets.reference.database import matching, utc_now
from targets.reference.nova import databases
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.attributes import Attributes, from_json
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.states import Power, Task, Vm
from targets.reference.nova.tables import INSTANCES


class InstanceNotFound(Exception):
    """The record is not there, or not any more."""


class UnexpectedTaskState(Exception):
    """Somebody else does something with the instance; the save changed nothing."""


ANY: Literal["any"] = "any"

Step = Callable[[sa.Connection], None]
"""What is written together with a record, in its transaction: all of it, or none."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One version of the record; ``save`` returns the next. ``ram`` in MiB, ``disk`` in GiB.

    ``node`` is the host that the scheduler chose, ``alternates`` are those to try when it refuses,
    and ``host`` is the one that claimed it. ``ports`` are the ids and addresses of its network
    ports. ``system_metadata`` is what operations that take several steps keep for the next one,
    under names of their own.
    """

    cell: str
    uuid: str
    name: str
    project_id: str
    user_id: str
    image: str
    flavor: str
    vcpus: int
    ram: int
    disk: int
    meta: dict[str, str]
    system_metadata: dict[str, str]
    attributes: Attributes
    tags: list[str]
    requested_networks: list[str]
    ports: list[dict[str, str]]
    node: str | None
    alternates: list[str]
    host: str | None
    vm_state: Vm
    task_state: Task | None
    power_state: Power
    hidden: bool
    created_at: str
    updated_at: str
    launched_at: str | None
    deleted_at: str | None

    @property
    def is_locked_for_caller(self) -> bool:
        """Whether it is locked, and who asks is no administrator."""
        return self.attributes.locked and not context.current().is_admin

    @staticmethod
    def get(cell: str, uuid: str) -> Instance | None:
        """Return the record, None when there is none or it is deleted."""
        found = Instance.find(cell, uuid=uuid)
        return found[0] if found else None

    @staticmethod
    def find(cell: str, **equal: object) -> list[Instance]:
        """Return the records whose columns have these values and that are not deleted."""
        alive = {"deleted_at": None, **equal}
        with databases.cell(cell).read() as connection:
            rows = connection.execute(*matching(INSTANCES, alive, "created_at"))
            return [_from_row(cell, row) for row in rows]

    @staticmethod
    def create(
        cell: str,
        request: BuildRequest,
        node: str | None,
        vm_state: Vm,
        task_state: Task | None,
        alternates: Sequence[str] = (),
        also: Step | None = None,
    ) -> Instance | None:
        """Write the record of what ``request`` asked for; None when there was one before."""
        now = utc_now()
        values = {
            "uuid": request.instance,
            "name": request.name,
            "project_id": request.project_id,
            "user_id": request.user_id,
            "image": request.image,
            "flavor": request.flavor,
            "vcpus": request.vcpus,
            "ram": request.ram,
            "disk": request.disk,
            "meta": request.metadata,
            "system_metadata": {},
            "attributes": request.attributes.to_json(),
            "tags": list(request.tags),
            "requested_networks": list(request.requested_networks),
            "ports": [],
            "node": node,
            "alternates": list(alternates),
            "vm_state": vm_state,
            "task_state": task_state,
            "power_state": Power.NOSTATE,
            "hidden": False,
            "created_at": request.created_at,
            "updated_at": now,
        }
        try:
            with databases.cell(cell).transaction() as connection:
                row = connection.execute(INSTANCES.insert().returning(INSTANCES), values).one()
                if also:
                    also(connection)
        except IntegrityError:
            return None
        return _from_row(cell, row)

    @staticmethod
    def claim(cell: str, uuid: str, host: str, also: Step | None = None) -> Instance | None:
        """Take the instance for ``host``, to which it was given.

        None when it is taken, given up, being deleted, or gone.
        """
        given = {"node": host, "host": None, "task_state": Task.SCHEDULING, "deleted_at": None}
        statement = INSTANCES.update().filter_by(uuid=uuid, **given)
        return _change(cell, statement, {"host": host, "task_state": Task.NETWORKING}, also)

    def save(
        self,
        *,
        expected_task_state: Collection[Task | None] | Literal["any"] = ANY,
        also: Step | None = None,
        **changes: Any,
    ) -> Instance:
        """Change columns, and ``also`` something else, and return the new version of the record.

        Raises:
            InstanceNotFound: it is deleted.
            UnexpectedTaskState: its task state is none of the expected ones.
        """
        statement = INSTANCES.update().filter_by(uuid=self.uuid, deleted_at=None)
        if expected_task_state != ANY:
            # `x IN (NULL)` is never true.
            task = sa.func.coalesce(INSTANCES.c.task_state, "")
            statement = statement.where(task.in_([state or "" for state in expected_task_state]))
        saved = _change(self.cell, statement, changes, also)
        if saved:
            return saved
        actual = Instance.get(self.cell, self.uuid)
        if actual is None:
            raise InstanceNotFound(f"instance {self.uuid} is not in {self.cell} any more")
        expected = sorted(str(state) for state in expected_task_state)
        raise UnexpectedTaskState(
            f"conflict updating instance {self.uuid}: expected task state {expected},"
            f" actual {actual.task_state}"
        )

    @staticmethod
    def modify(
        cell: str, uuid: str, change: Callable[[Instance], dict[str, Any]]
    ) -> Instance | None:
        """Change what its user says of the instance, given what he has said; None when it is gone.

        Two who do it at one time do it one after the other.
        """
        query = sa.select(INSTANCES).filter_by(uuid=uuid, deleted_at=None).with_for_update()
        update = INSTANCES.update().filter_by(uuid=uuid).returning(INSTANCES)
        with databases.cell(cell).transaction() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            values = change(_from_row(cell, row))
            if isinstance(values.get("attributes"), Attributes):
                values["attributes"] = values["attributes"].to_json()
            changed = connection.execute(update.values(updated_at=utc_now(), **values)).one()
        return _from_row(cell, changed)

    def destroy(self, also: Step | None = None) -> bool:
        """Delete the record; its row stays, marked. True for the one caller who did it.

        With it ends whatever was asked of the instance.
        """
        statement = INSTANCES.update().filter_by(uuid=self.uuid, deleted_at=None)
        gone = {"deleted_at": utc_now(), "vm_state": Vm.DELETED, "task_state": None}
        over = InstanceAction.finishing_all(self.uuid, "Success")

        def ending(connection: sa.Connection) -> None:
            over(connection)
            if also:
                also(connection)

        return _change(self.cell, statement, gone, ending) is not None

    def remembering(self, **kept: str | None) -> dict[str, str]:
        """Return the system metadata with these entries; None removes one."""
        changed = {**self.system_metadata, **kept}
        return {name: value for name, value in changed.items() if value is not None}

    @staticmethod
    def ever_in(cell: str) -> frozenset[str]:
        """Name all that have a record here, deleted or not."""
        with databases.cell(cell).read() as connection:
            return frozenset(connection.scalars(sa.select(INSTANCES.c.uuid)))

    @staticmethod
    def is_deleted(cell: str, uuid: str) -> bool:
        """Whether the instance was here and is deleted."""
        query = sa.select(INSTANCES.c.deleted_at).filter_by(uuid=uuid)
        with databases.cell(cell).read() as connection:
            return connection.scalar(query) is not None


def _change(
    cell: str, statement: sa.Update, values: dict[str, Any], also: Step | None = None
) -> Instance | None:
    changed = statement.values(updated_at=utc_now(), **values).returning(INSTANCES)
    with databases.cell(cell).transaction() as connection:
        row = connection.execute(changed).first()
        if row and also:
            also(connection)
    return _from_row(cell, row) if row else None


def _from_row(cell: str, row: sa.Row[Any]) -> Instance:
    values = {column.key: row._mapping[column] for column in INSTANCES.columns}
    values["attributes"] = from_json(row.attributes)
    values["vm_state"] = Vm(row.vm_state)
    values["task_state"] = Task(row.task_state) if row.task_state else None
    values["power_state"] = Power(row.power_state)
    return Instance(cell=cell, **values)
