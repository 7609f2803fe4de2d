"""Block device mappings: the compute side's record of a server's volumes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import matching
from targets.reference.nova import databases
from targets.reference.nova.instance import InstanceNotFound, Step
from targets.reference.nova.states import Task
from targets.reference.nova.tables import BLOCK_DEVICES, INSTANCES

_TOO_LATE = (Task.DELETING, Task.RESIZE_REVERTING)
"""What its volumes are counted for is being done with the instance already."""


class DeviceState(StrEnum):
    """How far the volume is.

    A detach begins by saying so: from then on the volume is its user's again, whatever else becomes
    of the server.
    """

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class VolumeInUse(Exception):
    """The instance has this volume already."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A volume of an instance; ``attachment`` is the volume service's id, '' while not reserved."""

    cell: str
    id: str
    instance: str
    volume: str
    attachment: str
    device: str
    delete_on_termination: bool
    state: DeviceState

    @staticmethod
    def find(cell: str, **equal: object) -> list[BlockDevice]:
        """Return the records whose columns have these values, in the order of their devices."""
        with databases.cell(cell).read() as connection:
            rows = connection.execute(*matching(BLOCK_DEVICES, equal, "device"))
            return [_from_row(cell, row) for row in rows]

    @staticmethod
    def get(cell: str, device_id: str) -> BlockDevice | None:
        """Return one record, None when it is gone."""
        found = BlockDevice.find(cell, id=device_id)
        return found[0] if found else None

    @staticmethod
    def create(
        cell: str,
        instance: str,
        volume: str,
        attachment: str,
        delete_on_termination: bool,
        also: Step | None = None,
    ) -> BlockDevice:
        """Write down that ``volume`` is to be attached, unless the instance is being deleted.

        With it is written what ``also`` writes, as by :meth:`save` and :meth:`destroy`.

        Raises:
            InstanceNotFound: it is deleted, or something else is being done with it.
            VolumeInUse: it has this volume already.
        """
        alive = sa.select(INSTANCES.c.uuid).filter_by(uuid=instance, deleted_at=None)
        alive = alive.where(sa.func.coalesce(INSTANCES.c.task_state, "").not_in(_TOO_LATE))
        taken = sa.select(BLOCK_DEVICES.c.device).filter_by(instance=instance)
        try:
            with databases.cell(cell).transaction() as connection:
                if connection.scalar(alive) is None:
                    raise InstanceNotFound(f"instance {instance} is not in {cell} any more")
                made = BlockDevice(
                    cell, str(uuid.uuid4()), instance, volume, attachment,
                    _free_device(set(connection.scalars(taken))),
                    delete_on_termination, DeviceState.ATTACHING,
                )  # fmt: skip
                row = {column.key: getattr(made, column.key) for column in BLOCK_DEVICES.columns}
                connection.execute(BLOCK_DEVICES.insert(), row)
                if also:
                    also(connection)
        except IntegrityError:
            raise VolumeInUse(f"instance {instance} has volume {volume} already") from None
        return made

    def save(self, *, also: Step | None = None, **changes: Any) -> BlockDevice | None:
        """Change columns and return the new version of the record; None when it is gone."""
        change = BLOCK_DEVICES.update().filter_by(id=self.id).values(**changes)
        with databases.cell(self.cell).transaction() as connection:
            row = connection.execute(change.returning(BLOCK_DEVICES)).first()
            if row and also:
                also(connection)
        return _from_row(self.cell, row) if row else None

    def note(self, attachment: str) -> BlockDevice | None:
        """Write down the attachment, unless there is one; return what is written, None if gone."""
        unnoted = BLOCK_DEVICES.update().filter_by(id=self.id, attachment="")
        with databases.cell(self.cell).transaction() as connection:
            connection.execute(unnoted.values(attachment=attachment))
            row = connection.execute(sa.select(BLOCK_DEVICES).filter_by(id=self.id)).first()
        return _from_row(self.cell, row) if row else None

    def destroy(self, also: Step | None = None) -> None:
        """Remove the record; no matter if it is gone."""
        with databases.cell(self.cell).transaction() as connection:
            connection.execute(BLOCK_DEVICES.delete().filter_by(id=self.id))
            if also:
                also(connection)


def _free_device(taken: set[str]) -> str:
    return next(name for letter in "bcdefghijklmnopqrstuvwxyz"
                if (name := f"/dev/vd{letter}") not in taken)  # fmt: skip


def _from_row(cell: str, row: sa.Row[Any]) -> BlockDevice:
    return BlockDevice(cell=cell, **{**row._mapping, "state": DeviceState(row.state)})
