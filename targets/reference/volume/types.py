"""Volume types."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import Database
from targets.reference.volume.store import DEFAULT_TYPE, TYPES, VOLUMES
from targets.reference.web import HttpError

_DEFAULT_ID = "e6f2b0d9-4a3c-4c55-8e0a-9b7d5f3c1a44"


class Types:
    """The kinds of volume that there are."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_default(self) -> None:
        """Make the type that is there from the start, unless it is there."""
        row = {"id": _DEFAULT_ID, "name": DEFAULT_TYPE, "is_public": True, "extra_specs": {}}
        with self._db.transaction() as connection:
            if not connection.execute(sa.select(TYPES.c.id).filter_by(id=_DEFAULT_ID)).first():
                connection.execute(TYPES.insert(), row)

    def find(self, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        """Return the types of which this is true, by name."""
        with self._db.read() as connection:
            rows = connection.execute(sa.select(TYPES).where(*where).order_by(TYPES.c.name))
            return [_view(row) for row in rows]

    def get(self, type_id: str) -> dict[str, Any]:
        """Return one type.

        Raises:
            HttpError: 404.
        """
        found = self.find(TYPES.c.id == type_id)
        if not found:
            raise _no_type(type_id)
        return found[0]

    def named(self, name_or_id: str) -> dict[str, Any]:
        """Return the type of a name or an id.

        Raises:
            HttpError: 404.
        """
        found = self.find(sa.or_(TYPES.c.id == name_or_id, TYPES.c.name == name_or_id))
        if not found:
            raise _no_type(name_or_id)
        return found[0]

    def create(self, name: str, description: str | None, is_public: bool) -> dict[str, Any]:
        """Make a type.

        Raises:
            HttpError: 409, the name is taken.
        """
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "name": name,
            "description": description,
            "is_public": is_public,
            "extra_specs": {},
        }
        return self._write(TYPES.insert().values(row), str(row["id"]), name)

    def update(self, type_id: str, **changes: Any) -> dict[str, Any]:
        """Change columns of a type.

        Raises:
            HttpError: 404; 409, the name is taken.
        """
        self.get(type_id)
        if not changes:
            return self.get(type_id)
        change = TYPES.update().filter_by(id=type_id).values(**changes)
        return self._write(change, type_id, changes.get("name", ""))

    def delete(self, type_id: str) -> None:
        """Remove a type.

        Raises:
            HttpError: 404; 400, a volume is of it.
        """
        name = self.get(type_id)["name"]
        with self._db.transaction() as connection:
            if connection.execute(sa.select(VOLUMES.c.id).filter_by(volume_type=name)).first():
                raise HttpError(
                    400, "Target volume type is still in use. VolumeTypeInUse: Volume Type"
                    f" {type_id} deletion is not allowed with volumes present with the type."
                )  # fmt: skip
            connection.execute(TYPES.delete().filter_by(id=type_id))

    def change_extra_specs(self, type_id: str, changes: dict[str, str | None]) -> dict[str, str]:
        """Set extra specs of a type, which keeps the rest; None takes away.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            row = connection.execute(sa.select(TYPES).filter_by(id=type_id)).first()
            if row is None:
                raise _no_type(type_id)
            said = {k: v for k, v in {**row.extra_specs, **changes}.items() if v is not None}
            connection.execute(TYPES.update().filter_by(id=type_id).values(extra_specs=said))
        return said

    def _write(self, statement: sa.Insert | sa.Update, type_id: str, name: str) -> dict[str, Any]:
        try:
            with self._db.transaction() as connection:
                connection.execute(statement)
        except IntegrityError:
            raise HttpError(409, f"Volume Type {name} already exists.") from None
        return self.get(type_id)


def _no_type(type_id: str) -> HttpError:
    return HttpError(404, f"Volume type {type_id} could not be found.", "VolumeTypeNotFound")


def _view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
        "os-volume-type-access:is_public": row.is_public,
        "qos_specs_id": None,
        "extra_specs": row.extra_specs,
    }
