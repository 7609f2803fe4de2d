"""The sizes that servers can have."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.nova import databases
from targets.reference.nova.tables import FLAVOR_EXTRA_SPECS, FLAVOR_PROJECTS, FLAVORS


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of server: ``ram`` and ``swap`` in MiB, ``disk`` and ``ephemeral`` in GiB."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    description: str | None = None
    extra_specs: dict[str, str] = field(default_factory=dict)


class FlavorExists(Exception):
    """There is one with this id or name."""


FIRST = (
    Flavor("1", "m1.tiny", 1, 512, 1),
    Flavor("2", "m1.small", 1, 2048, 20),
    Flavor("3", "m1.medium", 2, 4096, 40),
    Flavor("4", "m1.large", 4, 8192, 80),
    Flavor("5", "m1.xlarge", 8, 16384, 160),
)
"""Those that are there from the start."""


def add_first() -> None:
    """Make what is there from the start, unless there is any."""
    if not find_all():
        for flavor in FIRST:
            try:
                create(flavor)
            except FlavorExists:  # another API made it meanwhile
                return


def find(reference: str) -> Flavor | None:
    """Return a flavor by its id, its name, or a URL that ends in either."""
    wanted = reference.rstrip("/").rpartition("/")[2]
    named = find_all(sa.or_(FLAVORS.c.id == wanted, FLAVORS.c.name == wanted))
    return min(named, key=lambda flavor: flavor.id != wanted, default=None)


def get(flavor_id: str) -> Flavor | None:
    """Return a flavor by its id."""
    found = find_all(FLAVORS.c.id == flavor_id)
    return found[0] if found else None


def find_all(*where: sa.ColumnElement[bool]) -> list[Flavor]:
    """Return the flavors of which this is true, by id."""
    query = sa.select(FLAVORS).where(*where).order_by(FLAVORS.c.id)
    specs = sa.select(FLAVOR_EXTRA_SPECS).order_by(FLAVOR_EXTRA_SPECS.c.key)
    with databases.api().read() as connection:
        rows = connection.execute(query).all()
        said = connection.execute(
            specs.where(FLAVOR_EXTRA_SPECS.c.flavor.in_([r.id for r in rows]))
        )
        of_flavor: dict[str, dict[str, str]] = {}
        for spec in said:
            of_flavor.setdefault(spec.flavor, {})[spec.key] = spec.value
    return [Flavor(**row._mapping, extra_specs=of_flavor.get(row.id, {})) for row in rows]


def visible(project_id: str) -> sa.ColumnElement[bool]:
    """Say of a flavor that it is public, or that the project has access to it."""
    granted = sa.select(FLAVOR_PROJECTS.c.flavor).filter_by(project_id=project_id)
    return sa.or_(FLAVORS.c.is_public, FLAVORS.c.id.in_(granted))


def create(flavor: Flavor) -> None:
    """Make a flavor.

    Raises:
        FlavorExists: its id or its name is taken.
    """
    row = asdict(flavor)
    row.pop("extra_specs")
    try:
        with databases.api().transaction() as connection:
            connection.execute(FLAVORS.insert(), row)
    except IntegrityError:
        raise FlavorExists(
            f"Flavor with name {flavor.name} or ID {flavor.id} already exists."
        ) from None


def update(flavor_id: str, **changes: Any) -> bool:
    """Change columns; False when there is no such flavor."""
    change = FLAVORS.update().filter_by(id=flavor_id).values(**changes)
    with databases.api().transaction() as connection:
        return connection.execute(change).rowcount == 1


def destroy(flavor_id: str) -> bool:
    """Remove a flavor; servers of this size keep it. True for the one caller who did."""
    with databases.api().transaction() as connection:
        return connection.execute(FLAVORS.delete().filter_by(id=flavor_id)).rowcount == 1


def projects(flavor_id: str) -> list[str]:
    """Name the projects that have access to a flavor that is not public."""
    query = sa.select(FLAVOR_PROJECTS.c.project_id).filter_by(flavor=flavor_id)
    with databases.api().read() as connection:
        return sorted(connection.scalars(query))


def grant(flavor_id: str, project_id: str) -> bool:
    """Give a project access; False when it has it."""
    try:
        with databases.api().transaction() as connection:
            row = {"flavor": flavor_id, "project_id": project_id}
            connection.execute(FLAVOR_PROJECTS.insert(), row)
    except IntegrityError:
        return False
    return True


def revoke(flavor_id: str, project_id: str) -> bool:
    """Take a project's access; False when it has none."""
    gone = FLAVOR_PROJECTS.delete().filter_by(flavor=flavor_id, project_id=project_id)
    with databases.api().transaction() as connection:
        return connection.execute(gone).rowcount == 1


def set_extra_specs(flavor_id: str, specs: dict[str, str]) -> None:
    """Set some extra specs of a flavor, which keeps the others."""
    rows = [{"flavor": flavor_id, "key": key, "value": value} for key, value in specs.items()]
    replaced = FLAVOR_EXTRA_SPECS.c.key.in_(specs)
    with databases.api().transaction() as connection:
        connection.execute(FLAVOR_EXTRA_SPECS.delete().filter_by(flavor=flavor_id).where(replaced))
        if rows:
            connection.execute(FLAVOR_EXTRA_SPECS.insert(), rows)


def remove_extra_spec(flavor_id: str, key: str) -> bool:
    """Remove an extra spec; False when there is none."""
    gone = FLAVOR_EXTRA_SPECS.delete().filter_by(flavor=flavor_id, key=key)
    with databases.api().transaction() as connection:
        return connection.execute(gone).rowcount == 1
