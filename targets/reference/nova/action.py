"""Instance actions and faults: what was asked of a server, and what went wrong. They outlive it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from targets.reference import context
from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.tables import ACTIONS, FAULTS


@dataclass(frozen=True, slots=True)
class InstanceAction:
    """Something that a request asked of an instance; ``result`` is '' until it is finished."""

    id: int
    request: str
    instance: str
    action: str
    user_id: str
    project_id: str
    started_at: str
    finished_at: str | None
    result: str

    @staticmethod
    def find(cell: str, instance: str) -> list[InstanceAction]:
        """Return an instance's actions, the latest first."""
        query = sa.select(ACTIONS).filter_by(instance=instance).order_by(ACTIONS.c.id.desc())
        with databases.cell(cell).read() as connection:
            return [InstanceAction(**row._mapping) for row in connection.execute(query)]

    @staticmethod
    def start(cell: str, instance: str, action: str) -> None:
        """Record that the current request begins an action."""
        asked = context.current()
        row = {
            "request": asked.request_id,
            "instance": instance,
            "action": action,
            "user_id": asked.user_id,
            "project_id": asked.project_id,
            "started_at": utc_now(),
            "result": "",
        }
        with databases.cell(cell).transaction() as connection:
            connection.execute(ACTIONS.insert(), row)

    @staticmethod
    def finish(cell: str, instance: str, action: str, result: str = "Success") -> None:
        """Record the end of every such action of the instance that has none yet."""
        _finish(cell, result, instance=instance, action=action)

    @staticmethod
    def finish_all(cell: str, instance: str, result: str) -> None:
        """Record the end of whatever was begun with the instance."""
        _finish(cell, result, instance=instance)


def record_fault(cell: str, instance: str, message: str) -> None:
    """Keep what went wrong, for the server's user to see."""
    row = {"instance": instance, "message": message[:1024], "created_at": utc_now()}
    with databases.cell(cell).transaction() as connection:
        connection.execute(FAULTS.insert(), row)


def last_fault(cell: str, instance: str) -> tuple[str, str] | None:
    """Return the latest fault's message and time."""
    query = sa.select(FAULTS).filter_by(instance=instance).order_by(FAULTS.c.id.desc())
    with databases.cell(cell).read() as connection:
        row = connection.execute(query.limit(1)).first()
    return (row.message, row.created_at) if row else None


def _finish(cell: str, result: str, **equal: str) -> None:
    ended = {"finished_at": utc_now(), "result": result}
    change = ACTIONS.update().filter_by(finished_at=None, **equal).values(**ended)
    with databases.cell(cell).transaction() as connection:
        connection.execute(change)
