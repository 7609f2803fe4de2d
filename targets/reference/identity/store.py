"""Users, projects, roles, and who has which role where."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hmac import compare_digest
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference import config
from targets.reference.database import Database
from targets.reference.tokens import PROJECT_ID, SERVICE_PROJECT_ID
from targets.reference.web import HttpError

METADATA = sa.MetaData()
PROJECTS = sa.Table(
    "projects",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
)
USERS = sa.Table(
    "users",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("email", sa.String(255)),
    sa.Column("default_project_id", sa.String(64)),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("password", sa.String(255), nullable=False),
)
ROLES = sa.Table(
    "roles",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
)
ASSIGNMENTS = sa.Table(
    "assignments",
    METADATA,
    sa.Column("user", sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("scope", sa.String(64), primary_key=True),
    sa.Column("role", sa.ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
)
SYSTEM = "system"
"""The scope of an assignment that is for no project but for everything."""
SHARED_PASSWORD = ""
"""In place of the digest: the user has the password that the configuration says."""
NO_PASSWORD = "/"
"""In place of the digest: the user cannot log in."""


def fixed_id(kind: str, name: str) -> str:
    """Return the id of what is there from the start, the same in every run."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{name}").hex


_PROJECTS = {
    "demo": PROJECT_ID,
    "alt_demo": fixed_id("project", "alt_demo"),
    "admin": fixed_id("project", "admin"),
    "service": SERVICE_PROJECT_ID,
}
_ROLES = ("admin", "manager", "member", "reader", "service")
_USERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "demo": {"demo": ("member", "reader")},
    "alt_demo": {"alt_demo": ("member", "reader")},
    "admin": {
        "admin": ("admin", "member", "reader"),
        "demo": ("admin", "member", "reader"),
        SYSTEM: ("admin", "member", "reader"),
    },
}
"""Users, and the roles that they have: project → roles."""


class Store:
    """The records. What is not there, or there twice, is the caller's 404 or 409."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_first(self) -> None:
        """Make what is there from the start, unless it is there."""
        if self.find(ROLES):
            return
        with self._db.transaction() as connection:
            projects = [
                {"id": key, "name": name, "description": "", "enabled": True}
                for name, key in _PROJECTS.items()
            ]
            connection.execute(PROJECTS.insert(), projects)
            roles = [{"id": fixed_id("role", n), "name": n, "description": ""} for n in _ROLES]
            connection.execute(ROLES.insert(), roles)
            users = [
                {
                    "id": fixed_id("user", name),
                    "name": name,
                    "description": "",
                    "default_project_id": _PROJECTS[name],
                    "enabled": True,
                    "password": SHARED_PASSWORD,
                }
                for name in _USERS
            ]
            connection.execute(USERS.insert(), users)
            assignments = [
                {
                    "user": fixed_id("user", user),
                    "scope": _PROJECTS.get(where, where),
                    "role": fixed_id("role", role),
                }
                for user, scopes in _USERS.items()
                for where, names in scopes.items()
                for role in names
            ]
            connection.execute(ASSIGNMENTS.insert(), assignments)

    def find(self, table: sa.Table, **equal: Any) -> list[dict[str, Any]]:
        """Return the records whose columns have these values, by name."""
        query = sa.select(table).filter_by(**equal).order_by(table.c.name)
        with self._db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def create(self, table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
        """Make a record, and its id.

        Raises:
            HttpError: 409, the name is taken.
        """
        record = {"id": uuid.uuid4().hex, **values}
        try:
            with self._db.transaction() as connection:
                connection.execute(table.insert(), record)
        except IntegrityError:
            raise _taken(table, values) from None
        return self.find(table, id=record["id"])[0]

    def update(self, table: sa.Table, key: str, changes: dict[str, Any]) -> dict[str, Any] | None:
        """Change a record and return it; None when it is not there.

        Raises:
            HttpError: 409, the name is taken.
        """
        if changes:
            try:
                with self._db.transaction() as connection:
                    connection.execute(table.update().filter_by(id=key).values(**changes))
            except IntegrityError:
                raise _taken(table, changes) from None
        found = self.find(table, id=key)
        return found[0] if found else None

    def delete(self, table: sa.Table, key: str) -> bool:
        """Remove a record and its assignments; False when it is not there."""
        with self._db.transaction() as connection:
            connection.execute(ASSIGNMENTS.delete().filter_by(scope=key))
            return connection.execute(table.delete().filter_by(id=key)).rowcount == 1

    # ------------------------------------------------------------------ assignments

    def assignments(self, **equal: str) -> list[dict[str, str]]:
        """Return who (``user``) has which ``role`` where (``scope``)."""
        query = sa.select(ASSIGNMENTS).filter_by(**equal)
        with self._db.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def assign(self, user: str, scope: str, role: str) -> None:
        """Give a user a role; no matter if he has it."""
        row = {"user": user, "scope": scope, "role": role}
        with suppress(IntegrityError), self._db.transaction() as connection:
            connection.execute(ASSIGNMENTS.insert(), row)

    def unassign(self, user: str, scope: str, role: str) -> bool:
        """Take a role from a user; False when he has not got it."""
        gone = ASSIGNMENTS.delete().filter_by(user=user, scope=scope, role=role)
        with self._db.transaction() as connection:
            return connection.execute(gone).rowcount == 1

    def roles(self, user: str, scope: str) -> list[dict[str, Any]]:
        """Return the roles that a user has in a project, or in the system."""
        query = sa.select(ROLES).join(ASSIGNMENTS, ROLES.c.id == ASSIGNMENTS.c.role)
        query = query.where(ASSIGNMENTS.c.user == user, ASSIGNMENTS.c.scope == scope)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(ROLES.c.name))
            return [dict(row._mapping) for row in rows]

    def all_roles(self) -> list[dict[str, Any]]:
        """Return all roles there are."""
        return self.find(ROLES)

    def projects_of(self, user: str) -> list[dict[str, Any]]:
        """Return the projects in which a user has a role."""
        query = sa.select(PROJECTS).where(
            PROJECTS.c.id.in_(sa.select(ASSIGNMENTS.c.scope).filter_by(user=user))
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(PROJECTS.c.name))
            return [dict(row._mapping) for row in rows]


def digest(password: str) -> str:
    """Return what is kept of a password."""
    salt = os.urandom(16)
    return salt.hex() + "/" + _stretched(password, salt)


def is_password(user: dict[str, Any], shown: object) -> bool:
    """Whether somebody has shown a user's password."""
    given = str(shown).encode(errors="replace")
    if user["password"] == SHARED_PASSWORD:
        password = config.current().password.encode()
        # Compared in a time that tells nothing of how much of it is right.
        return bool(password) and compare_digest(given, password)
    salt, _, kept = user["password"].partition("/")
    return kept != "" and compare_digest(kept, _stretched(given.decode(), bytes.fromhex(salt)))


def _stretched(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 10, r=8, p=1).hex()


def _taken(table: sa.Table, values: dict[str, Any]) -> HttpError:
    what, name = table.name.removesuffix("s"), values.get("name")
    return HttpError(
        409,
        f"Conflict occurred attempting to store {what} - Duplicate entry found with name {name}",
    )


def names(records: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the names of records."""
    return tuple(record["name"] for record in records)
