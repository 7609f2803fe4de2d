"""In which cell a server is, and whether its user wants it gone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.nova import databases
from targets.reference.nova.tables import INSTANCE_MAPPINGS


@dataclass(frozen=True, slots=True)
class InstanceMapping:
    """``cell`` is None until the conductor has put the server into one.

    A mapping with a cell stays when its server is deleted, with ``queued_for_delete`` set, as
    Nova's do until they are archived: to a user it is gone then.
    """

    instance: str
    cell: str | None
    project_id: str
    queued_for_delete: bool

    @staticmethod
    def get(instance: str) -> InstanceMapping | None:
        """Return an instance's mapping, None when there is none."""
        found = InstanceMapping.find(instance=instance)
        return found[0] if found else None

    @staticmethod
    def find(**equal: object) -> list[InstanceMapping]:
        """Return the mappings whose columns have these values."""
        with databases.api().read() as connection:
            rows = connection.execute(sa.select(INSTANCE_MAPPINGS).filter_by(**equal))
            return [InstanceMapping(**row._mapping) for row in rows]

    @staticmethod
    def create(instance: str, project_id: str) -> None:
        """Write down that the instance is in no cell yet; no matter if it is written already."""
        row = {"instance": instance, "project_id": project_id, "queued_for_delete": False}
        with suppress(IntegrityError), databases.api().transaction() as connection:
            connection.execute(INSTANCE_MAPPINGS.insert(), row)

    @staticmethod
    def set_cell(instance: str, cell: str | None) -> None:
        """Write down in which cell the instance is; its record must be there already."""
        _update(instance, cell=cell)

    @staticmethod
    def queue_for_delete(instance: str) -> None:
        """Write down that the user wants it gone, before anything is done about it."""
        _update(instance, queued_for_delete=True)

    @staticmethod
    def destroy(instance: str) -> None:
        """Remove the mapping of a server that got into no cell."""
        unplaced = INSTANCE_MAPPINGS.delete().filter_by(instance=instance, cell=None)
        with databases.api().transaction() as connection:
            connection.execute(unplaced)


def _update(instance: str, **values: object) -> None:
    change = INSTANCE_MAPPINGS.update().filter_by(instance=instance).values(**values)
    with databases.api().transaction() as connection:
        connection.execute(change)
