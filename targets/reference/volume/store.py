"""Volume service (Cinder v3): volumes, and the attachments that reserve and connect them.

A volume's status follows from its attachments: *available* without any, *reserved* or *attaching*
while one is being made, *in-use* once one is complete. Each change of either is one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from targets.reference import context
from targets.reference.database import Database, matching, utc_now
from targets.reference.policy import owns
from targets.reference.web import HttpError, not_found

METADATA = sa.MetaData()
VOLUMES = sa.Table(
    "volumes",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("multiattach", sa.Boolean, nullable=False),
    sa.Column("bootable", sa.Boolean, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False, key="meta"),
    sa.Column("volume_type", sa.String(255), nullable=False),
    sa.Column("availability_zone", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
ATTACHMENTS = sa.Table(
    "attachments",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("volume_id", sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("instance", sa.String(36), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("connector", sa.JSON),
    sa.Column("attached_at", sa.String(32)),
)
TYPES = sa.Table(
    "volume_types",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
)
DEFAULT_TYPE = "lvm"
_DELETABLE = ("available", "error", "deleting")


class Volumes:
    """The volumes and their attachments."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def find(self, **equal: object) -> list[dict[str, Any]]:
        """Return the volumes whose columns have these values."""
        with self._db.read() as connection:
            rows = connection.execute(*matching(VOLUMES, equal, "created_at", "id")).all()
            attached = connection.execute(*matching(ATTACHMENTS, {"status": "attached"})).all()
        return [_view(row, [a for a in attached if a.volume_id == row.id]) for row in rows]

    def get(self, volume_id: str) -> dict[str, Any]:
        """Return one volume.

        Raises:
            HttpError: 404.
        """
        found = self.find(id=volume_id)
        if not found or not owns(found[0]["os-vol-tenant-attr:tenant_id"]):
            raise _no_volume(volume_id)
        return found[0]

    def create(self, name: str, size: int, **more: Any) -> dict[str, Any]:
        """Make an empty volume of ``size`` GiB, available at once; ``more`` are other columns."""
        volume_id, now, caller = str(uuid.uuid4()), utc_now(), context.current()
        row = {
            "id": volume_id,
            "name": name,
            "description": "",
            "size": size,
            "status": "available",
            "multiattach": False,
            "bootable": False,
            "meta": {},
            "volume_type": DEFAULT_TYPE,
            "availability_zone": "nova",
            "project_id": caller.project_id,
            "user_id": caller.user_id,
            "created_at": now,
            "updated_at": now,
        }
        with self._db.transaction() as connection:
            connection.execute(VOLUMES.insert(), row | more)
        return self.get(volume_id)

    def update(self, volume_id: str, **changes: Any) -> dict[str, Any]:
        """Change columns of a volume.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            _volume(connection, volume_id)
            change = VOLUMES.update().filter_by(id=volume_id)
            connection.execute(change.values(updated_at=utc_now(), **changes))
        return self.get(volume_id)

    def change_metadata(
        self, volume_id: str, changes: dict[str, str | None], *, replace: bool = False
    ) -> dict[str, str]:
        """Set metadata of a volume, which keeps the rest unless it is replaced; None takes away.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            before = {} if replace else dict(_volume(connection, volume_id).metadata)
            _volume(connection, volume_id)
            said = {k: v for k, v in {**before, **changes}.items() if v is not None}
            change = VOLUMES.update().filter_by(id=volume_id)
            connection.execute(change.values(updated_at=utc_now(), meta=said))
        return said

    def extend(self, volume_id: str, size: int) -> None:
        """Make a volume larger.

        Raises:
            HttpError: 404; 400, it would not be larger, or is neither available nor in use.
        """
        with self._db.transaction() as connection:
            volume = _volume(connection, volume_id)
            if size <= volume.size or volume.status not in ("available", "in-use"):
                raise HttpError(
                    400,
                    f"Invalid input received: New size for extend must be greater than current size"
                    f" ({volume.size}), and the volume available or in-use; it is {volume.status}.",
                )
            connection.execute(VOLUMES.update().filter_by(id=volume_id).values(size=size))

    def delete(self, volume_id: str) -> None:
        """Delete a volume; one that is being deleted already is no error (the fix of LP#2067869).

        Raises:
            HttpError: 404; 400, it is reserved or attached.
        """
        with self._db.transaction() as connection:
            volume = _volume(connection, volume_id)
            if volume.status not in _DELETABLE or _of_volume(connection, volume_id):
                raise HttpError(
                    400,
                    "Invalid volume: Volume status must be available or error and must not be"
                    f" attached; it is {volume.status}.",
                )
            _set_status(connection, volume_id, "deleting")
        self.erase(volume_id)

    def erase(self, volume_id: str) -> None:
        """Finish a deletion: the volume's space is freed and its record goes."""
        with self._db.transaction() as connection:
            connection.execute(VOLUMES.delete().filter_by(id=volume_id, status="deleting"))

    def finish_deletions(self) -> None:
        """Erase what was being deleted when the service died."""
        for volume in self.find(status="deleting"):
            self.erase(volume["id"])

    def list_attachments(self, **equal: str) -> list[dict[str, Any]]:
        """Return the attachments whose columns have these values."""
        query = sa.select(ATTACHMENTS).filter_by(**equal).order_by(ATTACHMENTS.c.id)
        caller = context.current()
        if not caller.is_admin:
            his = sa.select(VOLUMES.c.id).filter_by(project_id=caller.project_id)
            query = query.where(ATTACHMENTS.c.volume_id.in_(his))
        with self._db.read() as connection:
            return [_attachment_view(row) for row in connection.execute(query)]

    def get_attachment(self, attachment_id: str) -> dict[str, Any]:
        """Return one attachment.

        Raises:
            HttpError: 404.
        """
        found = self.list_attachments(id=attachment_id)
        if not found:
            raise _no_attachment(attachment_id)
        return found[0]

    def attach(
        self, volume_id: str, instance: str, connector: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Reserve a volume for an instance; with a ``connector``, begin to connect it.

        Raises:
            HttpError: 404; 400, the volume is not free for this instance.
        """
        attachment_id = str(uuid.uuid4())
        with self._db.transaction() as connection:
            volume = _volume(connection, volume_id)
            others = [a for a in _of_volume(connection, volume_id) if a.instance != instance]
            moving = not others and volume.status == "in-use"  # to another host, or to none
            shared = moving or (
                volume.multiattach and volume.status in ("reserved", "attaching", "in-use")
            )
            if volume.status != "available" and not shared:
                raise HttpError(
                    400,
                    f"Invalid volume: Volume {volume_id} status must be available or in-use with"
                    f" multiattach, but it is {volume.status}.",
                )
            connection.execute(
                ATTACHMENTS.insert(),
                {
                    "id": attachment_id,
                    "volume_id": volume_id,
                    "instance": instance,
                    "status": "attaching" if connector else "reserved",
                    "connector": connector,
                },
            )
            _follow_attachments(connection, volume_id)
        return self.get_attachment(attachment_id)

    def connect(self, attachment_id: str, connector: dict[str, Any]) -> dict[str, Any]:
        """Begin to connect a reserved volume to the host that ``connector`` describes.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            attachment = _attachment(connection, attachment_id)
            values: dict[str, Any] = {"connector": connector}
            if attachment.status == "reserved":
                values["status"] = "attaching"
            connection.execute(ATTACHMENTS.update().filter_by(id=attachment_id).values(values))
            _follow_attachments(connection, attachment.volume_id)
        return self.get_attachment(attachment_id)

    def complete(self, attachment_id: str) -> None:
        """Record that the volume is connected: it is in use from now on.

        Raises:
            HttpError: 404; 400, nothing began to connect it.
        """
        with self._db.transaction() as connection:
            attachment = _attachment(connection, attachment_id)
            if attachment.status == "reserved":
                raise HttpError(
                    400, f"Invalid volume: attachment {attachment_id} has no connector."
                )
            connection.execute(
                ATTACHMENTS.update()
                .filter_by(id=attachment_id)
                .values(status="attached", attached_at=utc_now())
            )
            _follow_attachments(connection, attachment.volume_id)

    def detach(self, attachment_id: str) -> list[dict[str, Any]]:
        """Remove an attachment and return those that the volume still has.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            attachment = _attachment(connection, attachment_id)
            connection.execute(ATTACHMENTS.delete().filter_by(id=attachment_id))
            _follow_attachments(connection, attachment.volume_id)
            return [_attachment_view(a) for a in _of_volume(connection, attachment.volume_id)]


def _no_volume(volume_id: str) -> HttpError:
    return not_found("Volume", volume_id, "VolumeNotFound")


def _no_attachment(attachment_id: str) -> HttpError:
    return HttpError(404, f"Volume attachment could not be found with filter: {attachment_id}.")


def _volume(connection: sa.Connection, volume_id: str) -> sa.Row[Any]:
    row = connection.execute(*matching(VOLUMES, {"id": volume_id})).first()
    if row is None or not owns(row.project_id):
        raise _no_volume(volume_id)
    return row


def _attachment(connection: sa.Connection, attachment_id: str) -> sa.Row[Any]:
    row = connection.execute(*matching(ATTACHMENTS, {"id": attachment_id})).first()
    if row is None:
        raise _no_attachment(attachment_id)
    _volume(connection, row.volume_id)
    return row


def _of_volume(connection: sa.Connection, volume_id: str) -> list[sa.Row[Any]]:
    return list(connection.execute(*matching(ATTACHMENTS, {"volume_id": volume_id})))


def _set_status(connection: sa.Connection, volume_id: str, status: str) -> None:
    values = {"status": status, "updated_at": utc_now()}
    connection.execute(VOLUMES.update().filter_by(id=volume_id).values(values))


def _follow_attachments(connection: sa.Connection, volume_id: str) -> None:
    statuses = {attachment.status for attachment in _of_volume(connection, volume_id)}
    for attachment, volume in (
        ("attached", "in-use"),
        ("attaching", "attaching"),
        ("reserved", "reserved"),
    ):
        if attachment in statuses:
            return _set_status(connection, volume_id, volume)
    return _set_status(connection, volume_id, "available")


def _view(row: sa.Row[Any], attached: Iterable[sa.Row[Any]]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "size": row.size,
        "status": row.status,
        "multiattach": row.multiattach,
        "bootable": "true" if row.bootable else "false",
        "encrypted": False,
        "metadata": row.metadata,
        "volume_type": row.volume_type,
        "availability_zone": row.availability_zone,
        "snapshot_id": None,
        "source_volid": None,
        "user_id": row.user_id,
        "os-vol-tenant-attr:tenant_id": row.project_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "replication_status": None,
        "consistencygroup_id": None,
        "group_id": None,
        "cluster_name": None,
        "provider_id": None,
        "service_uuid": None,
        "shared_targets": False,
        "migration_status": None,
        "links": [],
        "attachments": [
            {
                "id": row.id,
                "volume_id": row.id,
                "attachment_id": attachment.id,
                "server_id": attachment.instance,
                "host_name": (attachment.connector or {}).get("host"),
                "device": (attachment.connector or {}).get("mountpoint"),
                "attached_at": attachment.attached_at,
            }
            for attachment in attached
        ],
    }


def _attachment_view(row: sa.Row[Any]) -> dict[str, Any]:
    host = (row.connector or {}).get("host")
    info = {"driver_volume_type": "local", "volume_id": row.volume_id, "host": host}
    return {
        "id": row.id,
        "volume_id": row.volume_id,
        "instance": row.instance or None,
        "status": row.status,
        "attach_mode": "rw",
        "attached_at": row.attached_at or "",
        "detached_at": "",
        "connection_info": info if row.connector else {},
    }
