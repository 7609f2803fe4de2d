"""The copy of an instance that a move to another cell keeps in the cell that has not the say.

It is hidden: no user sees it. It is written and removed as a whole, so that a cell has all of it or
nothing, and removed for good, so that the instance may come to that cell again.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import utc_now
from targets.reference.nova import databases, volumes
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import FLAVOR, Migration, MoveStatus
from targets.reference.nova.states import Task
from targets.reference.nova.tables import (
    ACTION_EVENTS,
    ACTIONS,
    BLOCK_DEVICES,
    FAULTS,
    INSTANCES,
    MIGRATIONS,
)

_SAID = ("name", "meta", "tags", "requested_networks", "ports")
"""What may change while an instance waits for its user's decision, beside its attributes."""


def write(instance: Instance, migration: Migration) -> None:
    """Write an instance's copy, with all that hangs on it, into the cell that it shall come to.

    No matter if it is there. Its block devices have no attachments yet; it has the new flavor.
    """
    copied = _read(instance, migration)
    try:
        with databases.cell(str(migration.dest_cell)).transaction() as connection:
            for table, rows in copied.items():
                if rows:
                    connection.execute(table.insert(), rows)
            _write_actions(connection, *_actions_of(instance.cell, instance.uuid))
    except IntegrityError:
        return


def _read(instance: Instance, migration: Migration) -> dict[sa.Table, list[dict[str, Any]]]:
    """Return the rows of a copy, as they shall be in the other cell."""
    new = migration.new_flavor
    with databases.cell(instance.cell).read() as connection:
        own = connection.execute(sa.select(INSTANCES).filter_by(uuid=instance.uuid)).one()
        moves = connection.execute(sa.select(MIGRATIONS).filter_by(instance=instance.uuid)).all()
        devices = connection.execute(
            sa.select(BLOCK_DEVICES).filter_by(instance=instance.uuid)
        ).all()
    row = _keyed(INSTANCES, own)
    row |= {name: new[name] for name in FLAVOR}
    row |= {
        "attributes": {**row["attributes"], "flavor": new["described"]},
        "hidden": True,
        "host": None,
        "node": migration.dest_node,
        "alternates": [],
        "task_state": Task.RESIZE_PREP,
        "deleted_at": None,
    }
    return {
        INSTANCES: [row],
        MIGRATIONS: [
            {name: value for name, value in _keyed(MIGRATIONS, move).items() if name != "id"}
            | ({"status": MoveStatus.PRE_MIGRATING} if move.uuid == migration.uuid else {})
            for move in moves
        ],
        BLOCK_DEVICES: [
            _keyed(BLOCK_DEVICES, device) | {"attachment": ""}
            for device in devices
            if device.state != DeviceState.DETACHING
        ],
    }


def hard_delete(instance: Instance, also: Step | None = None) -> Step:
    """Return the step that removes a copy and all that hangs on it; its notifications stay."""

    def remove(connection: sa.Connection) -> None:
        copy = {"uuid": instance.uuid, "hidden": True, "deleted_at": None}
        if not connection.execute(INSTANCES.delete().filter_by(**copy)).rowcount:
            return
        if also:
            also(connection)
        mine = sa.select(ACTIONS.c.id).filter_by(instance=instance.uuid)
        connection.execute(ACTION_EVENTS.delete().where(ACTION_EVENTS.c.action.in_(mine)))
        for table in (ACTIONS, FAULTS, MIGRATIONS, BLOCK_DEVICES):
            connection.execute(table.delete().filter_by(instance=instance.uuid))

    return remove


def remove_unclaimed(copy: Instance) -> bool:
    """Remove a copy that no host has claimed; False when one has."""
    unclaimed = INSTANCES.update().filter_by(uuid=copy.uuid, host=None, hidden=True)
    with databases.cell(copy.cell).transaction() as connection:
        if not connection.execute(unclaimed.values(task_state=None)).rowcount:
            return False
        hard_delete(copy)(connection)
    return True


def attachments(instance: Instance | None) -> list[str]:
    """Name the attachments of an instance's block devices in its cell."""
    found = BlockDevice.find(instance.cell, instance=instance.uuid) if instance else []
    return [device.attachment for device in found if device.attachment]


def drop_detached(copy: Instance, current: Instance) -> None:
    """Forget, and give back, the volumes of a copy that the instance has not any more."""
    kept = {device.volume for device in _lasting(current)}
    for device in BlockDevice.find(copy.cell, instance=copy.uuid):
        if device.volume not in kept:
            if device.attachment:
                volumes.delete_attachment(device.attachment)
            device.destroy()


def adopt_devices(copy: Instance, current: Instance) -> Step:
    """Return the step that gives a copy the block devices that it lacks, yet without attachment."""
    wanted = _lasting(current)

    def adopt(connection: sa.Connection) -> None:
        for device in wanted:
            same = {"instance": copy.uuid, "volume": device.volume}
            said: dict[str, Any] = {
                "delete_on_termination": device.delete_on_termination,
                "state": DeviceState.ATTACHED,
            }
            known = connection.execute(BLOCK_DEVICES.update().filter_by(**same).values(**said))
            if not known.rowcount:
                row = {"id": str(uuid.uuid4()), "device": device.device, "attachment": ""}
                connection.execute(BLOCK_DEVICES.insert(), {**row, **same, **said})

    return adopt


def adopt_words(copy: Instance, current: Instance) -> Step:
    """Return the step that gives a copy what was said of the instance meanwhile.

    Its flavor stays its own.
    """
    said = {name: getattr(current, name) for name in _SAID}
    attributes = current.attributes.to_json() | {"flavor": copy.attributes.flavor}
    own = INSTANCES.update().filter_by(uuid=copy.uuid, hidden=True)
    own = own.values(**said, attributes=attributes)

    def adopt(connection: sa.Connection) -> None:
        connection.execute(own)

    return adopt


def adopt_actions(copy: Instance, current: Instance) -> Step:
    """Return the step that gives a copy the actions of the instance, in place of its own."""
    actions, events = _actions_of(current.cell, current.uuid)

    def adopt(connection: sa.Connection) -> None:
        mine = sa.select(ACTIONS.c.id).filter_by(instance=copy.uuid)
        connection.execute(ACTION_EVENTS.delete().where(ACTION_EVENTS.c.action.in_(mine)))
        connection.execute(ACTIONS.delete().filter_by(instance=copy.uuid))
        _write_actions(connection, actions, events)

    return adopt


def adopt_action(current: Instance, action: str) -> Step:
    """Return the step that begins in a copy's cell what was asked of the instance in its own."""
    actions, _ = _actions_of(current.cell, current.uuid)
    asked = [row for row in actions if row["action"] == action and not row["finished_at"]]

    def adopt(connection: sa.Connection) -> None:
        _write_actions(connection, asked, [])

    return adopt


def record_event(
    cell: str, instance: str, action: str, event: str, host: str, *, over: bool
) -> Step:
    """Return the step that writes an event of an action that goes on, once; nothing is told."""
    ended = {"finished_at": utc_now(), "result": "Success"} if over else {"result": ""}

    def write_event(connection: sa.Connection) -> None:
        asked = sa.select(ACTIONS.c.id).filter_by(instance=instance, action=action, result="")
        found = connection.scalar(asked.order_by(ACTIONS.c.id))
        known = sa.select(ACTION_EVENTS.c.id).filter_by(action=found, event=event)
        if found is not None and connection.scalar(known) is None:
            row = {"action": found, "event": event, "host": host, "started_at": utc_now(), **ended}
            connection.execute(ACTION_EVENTS.insert(), row)

    return write_event


def at_once(cell: str, *steps: Step) -> None:
    """Do steps as one transaction of a cell."""
    with databases.cell(cell).transaction() as connection:
        for step in steps:
            step(connection)


def _lasting(instance: Instance) -> list[BlockDevice]:
    found = BlockDevice.find(instance.cell, instance=instance.uuid)
    return [device for device in found if device.state != DeviceState.DETACHING]


def _actions_of(cell: str, instance: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mine = sa.select(ACTIONS.c.id).filter_by(instance=instance)
    events = sa.select(ACTION_EVENTS).where(ACTION_EVENTS.c.action.in_(mine))
    with databases.cell(cell).read() as connection:
        asked = connection.execute(
            sa.select(ACTIONS).filter_by(instance=instance).order_by(ACTIONS.c.id)
        ).all()
        done = connection.execute(events.order_by(ACTION_EVENTS.c.id)).all()
    return [_keyed(ACTIONS, row) for row in asked], [_keyed(ACTION_EVENTS, row) for row in done]


def _write_actions(
    connection: sa.Connection,
    actions: Collection[dict[str, Any]],
    events: Collection[dict[str, Any]],
) -> None:
    """Write actions with their events; each gets a number of its new cell."""
    for action in actions:
        row = {name: value for name, value in action.items() if name != "id"}
        number = connection.execute(ACTIONS.insert().returning(ACTIONS.c.id), row).scalar_one()
        for event in events:
            if event["action"] == action["id"] and _is_past(event):
                told = {name: value for name, value in event.items() if name != "id"}
                connection.execute(ACTION_EVENTS.insert(), told | {"action": number})


def _is_past(event: dict[str, Any]) -> bool:
    """Whether nobody in the cell that it is copied from will end it."""
    return bool(event["result"]) or event["event"].startswith("conductor_")


def _keyed(table: sa.Table, row: sa.Row[Any]) -> dict[str, Any]:
    return {column.key: row._mapping[column] for column in table.columns}
