"""Two requests to attach one volume to one server leave two block devices of it.

Launchpad bug 1937375. The API looks whether the server has the volume already; the record is made
later, by the compute, which did not look again, and the table allows two. Of two requests at one
time each finds nothing. Seen by *attachments match block devices* (5).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from targets.reference.nova import databases
from targets.reference.nova.api.servers import attachments
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.tables import BLOCK_DEVICES
from targets.reference.web import HttpError

_create, _attach = BlockDevice.create, attachments.attach
_NAME = BLOCK_DEVICES.name


def _look_and_attach(server_id: str, volume_id: str, delete_on_termination: bool) -> BlockDevice:
    mapping = InstanceMapping.get(server_id)
    his = {"instance": server_id, "volume": volume_id}
    if mapping and mapping.cell and BlockDevice.find(mapping.cell, **his):
        raise HttpError(400, f"Invalid volume: volume {volume_id} already attached")
    return _attach(server_id, volume_id, delete_on_termination)


def _create_unchecked(cell: str, *more: Any, **named: Any) -> BlockDevice:
    _allow_two(cell)
    return _create(cell, *more, **named)


def _allow_two(cell: str) -> None:
    """Have the table of old, which knew no volume that is there once."""
    old = sa.Table(_NAME, sa.MetaData(), *(column._copy() for column in BLOCK_DEVICES.columns))
    with databases.cell(cell).transaction() as connection:
        if sa.inspect(connection).get_unique_constraints(_NAME):
            rows = [dict(row._mapping) for row in connection.execute(sa.select(BLOCK_DEVICES))]
            BLOCK_DEVICES.drop(connection)
            old.create(connection)
            if rows:
                connection.execute(old.insert(), rows)


def apply() -> None:
    """Look before the record is made, and not as it is made."""
    attachments.attach = _look_and_attach
    BlockDevice.create = staticmethod(_create_unchecked)  # type: ignore[method-assign]
