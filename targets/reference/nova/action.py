"""Instance actions and their events, and what is told of them: notifications. They outlive it.

An *action* is something that a request asked of an instance. It is written in the transaction that
writes down what is to be done, so that there is no work without it and no action without work. An
*event* is what a compute did for it; it is told as ``instance.reboot.start`` when it begins and as
``….end``, or ``….error``, when it ends, each in the transaction of the event's own record. So an
event that a crash cut off is told as begun, and whoever finishes the work tells the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from targets.reference import context
from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.tables import ACTION_EVENTS, ACTIONS, FAULTS, NOTIFICATIONS

_TOLD = {
    "createImage": "snapshot",
    "start": "power_on",
    "stop": "power_off",
    "attach_volume": "volume_attach",
    "detach_volume": "volume_detach",
    "attach_interface": "interface_attach",
    "detach_interface": "interface_detach",
    "shelveOffload": "shelve_offload",
    "confirmResize": "resize_confirm",
    "revertResize": "resize_revert",
}
"""What notifications call an action, where it is not the action's own name."""
_UNTOLD = "conductor_"
"""How the events begin of which nothing is told."""


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
    def starting(instance: str, action: str) -> Callable[[sa.Connection], None]:
        """Return what records that the current request begins an action, in a transaction."""
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
        return lambda connection: _insert(connection, ACTIONS, row)

    @staticmethod
    def finish(cell: str, instance: str, action: str, result: str = "Success") -> None:
        """Record the end of the current request's action.

        Where that asked for none it is the successor of one that did, which has died: then the end
        of every such action.
        """
        wanted = {"instance": instance, "action": action}
        own = {**wanted, "request": context.current().request_id}
        with databases.cell(cell).transaction() as connection:
            if not _finish(connection, result, **own):
                _finish(connection, result, **wanted)

    @staticmethod
    def finishing(instance: str, action: str, result: str) -> Callable[[sa.Connection], None]:
        """Return what records the end of the current request's action, in a transaction."""
        own = {"instance": instance, "action": action, "request": context.current().request_id}

        def finish(connection: sa.Connection) -> None:
            _finish(connection, result, **own)

        return finish

    @staticmethod
    def ending(instance: str, action: str, result: str) -> Callable[[sa.Connection], None]:
        """Return what records the end of every such action, whoever asked, in a transaction."""

        def end(connection: sa.Connection) -> None:
            _finish(connection, result, instance=instance, action=action)

        return end

    @staticmethod
    def finish_all(cell: str, instance: str, result: str) -> None:
        """Record the end of whatever was begun with the instance."""
        with databases.cell(cell).transaction() as connection:
            InstanceAction.finishing_all(instance, result)(connection)

    @staticmethod
    def finishing_all(instance: str, result: str) -> Callable[[sa.Connection], None]:
        """Return what records that, in a transaction."""

        def finish(connection: sa.Connection) -> None:
            _finish(connection, result, instance=instance)

        return finish


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """What a compute did for an action; ``result`` is '' until it is finished."""

    event: str
    host: str
    started_at: str
    finished_at: str | None
    result: str

    @staticmethod
    def find(cell: str, action: InstanceAction) -> list[ActionEvent]:
        """Return an action's events, the latest first."""
        columns = [ACTION_EVENTS.c[name] for name in ActionEvent.__slots__]
        query = sa.select(*columns).filter_by(action=action.id)
        with databases.cell(cell).read() as connection:
            rows = connection.execute(query.order_by(ACTION_EVENTS.c.id.desc()))
            return [ActionEvent(**row._mapping) for row in rows]

    @staticmethod
    def begin(
        cell: str, instance: str, action: str, host: str, event: str = "", tell: bool = True
    ) -> None:
        """Record, and tell, that a host is at an action that was asked for and is not finished.

        Where it was at it before, that goes on; where there is no such action there is nothing to
        tell of. One action may have several events, each with a name.
        """
        name = event or f"compute_{action}"
        with databases.cell(cell).transaction() as connection:
            wanted = sa.select(ACTIONS).filter_by(instance=instance, action=action, result="")
            asked = connection.execute(wanted.order_by(ACTIONS.c.id)).all()
            own = [row for row in asked if row.request == context.current().request_id] or asked
            if not own or connection.execute(_open_events(own[0].id, name)).first():
                return
            row = {
                "action": own[0].id,
                "event": name,
                "host": host,
                "started_at": utc_now(),
                "result": "",
            }
            _insert(connection, ACTION_EVENTS, row)
            if tell:
                _tell(connection, own[0], "start", host)


def tell_of(cell: str, instance: str, action: str, event_type: str, host: str) -> None:
    """Tell something else of an instance, once, that belongs to an action that goes on."""
    asked = sa.select(ACTIONS).filter_by(instance=instance, action=action, result="")
    with databases.cell(cell).transaction() as connection:
        found = connection.execute(asked.order_by(ACTIONS.c.id)).first()
        if found is None:
            return
        told = {"request": found.request, "instance": instance, "event_type": event_type}
        if not connection.execute(sa.select(NOTIFICATIONS.c.id).filter_by(**told)).first():
            _insert(connection, NOTIFICATIONS, {**told, "host": host, "sent_at": utc_now()})


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


def _finish(connection: sa.Connection, result: str, **equal: str) -> bool:
    """End the open actions whose columns have these values, and their events; False: none is."""
    ended = {"finished_at": utc_now(), "result": result}
    found = connection.execute(sa.select(ACTIONS).filter_by(finished_at=None, **equal)).all()
    for action in found:
        connection.execute(ACTIONS.update().filter_by(id=action.id).values(**ended))
        for event in connection.execute(_open_events(action.id)).all():
            connection.execute(ACTION_EVENTS.update().filter_by(id=event.id).values(**ended))
            if not event.event.startswith(_UNTOLD):
                _tell(connection, action, "end" if result == "Success" else "error", event.host)
    return bool(found)


def _open_events(action: int, name: str = "") -> sa.Select[tuple[int, str, str]]:
    columns = (ACTION_EVENTS.c.id, ACTION_EVENTS.c.host, ACTION_EVENTS.c.event)
    found = sa.select(*columns).filter_by(action=action, finished_at=None)
    return found.filter_by(event=name) if name else found


def _tell(connection: sa.Connection, action: sa.Row[tuple[object]], phase: str, host: str) -> None:
    row = {
        "request": action.request,
        "instance": action.instance,
        "event_type": f"instance.{_TOLD.get(action.action, action.action)}.{phase}",
        "host": host,
        "sent_at": utc_now(),
    }
    _insert(connection, NOTIFICATIONS, row)


def _insert(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> None:
    connection.execute(table.insert(), row)
