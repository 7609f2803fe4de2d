"""In which cell a server is, and whether its user wants it gone."""

from __future__ import annotations

from dataclasses import dataclass

from targets.reference.database import matching
from targets.reference.nova import databases
from targets.reference.nova.tables import INSTANCE_MAPPINGS


@dataclass(frozen=True, slots=True)
class InstanceMapping:
    """``cell`` is None until a conductor has decided it; it is written along with a build request.

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
            rows = connection.execute(*matching(INSTANCE_MAPPINGS, equal))
            return [InstanceMapping(**row._mapping) for row in rows]

    @staticmethod
    def set_cell(instance: str, cell: str) -> str | None:
        """Decide in which cell the instance is, unless that is decided already; return the cell.

        None when its user wants it gone, or it is gone. The record comes after the decision: there
        are never two of them.
        """
        undecided = {"instance": instance, "cell": None, "queued_for_delete": False}
        change = INSTANCE_MAPPINGS.update().filter_by(**undecided).values(cell=cell)
        with databases.api().transaction() as connection:
            if connection.execute(change).rowcount:
                return cell
        mapping = InstanceMapping.get(instance)
        return None if mapping is None or mapping.queued_for_delete else mapping.cell

    @staticmethod
    def move(instance: str, source: str, dest: str) -> bool:
        """Have the instance be in another cell than before, unless its user wants it gone.

        True also when it is there already.
        """
        there = {"instance": instance, "cell": source, "queued_for_delete": False}
        change = INSTANCE_MAPPINGS.update().filter_by(**there).values(cell=dest)
        with databases.api().transaction() as connection:
            if connection.execute(change).rowcount:
                return True
        mapping = InstanceMapping.get(instance)
        return mapping is not None and mapping.cell == dest

    @staticmethod
    def queue_for_delete(instance: str) -> None:
        """Write down that the user wants it gone, before anything is done about it."""
        wanted = INSTANCE_MAPPINGS.update().filter_by(instance=instance)
        with databases.api().transaction() as connection:
            connection.execute(wanted.values(queued_for_delete=True))

    @staticmethod
    def destroy(instance: str) -> None:
        """Remove the mapping of a deleted server of which no cell ever had a record."""
        unwanted = {"instance": instance, "queued_for_delete": True}
        with databases.api().transaction() as connection:
            connection.execute(INSTANCE_MAPPINGS.delete().filter_by(**unwanted))
