"""The hosts, as their operator sees them: what they have, and how much of it is used."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from targets.reference.nova import databases
from targets.reference.nova.tables import COMPUTE_NODES

_NAMESPACE = uuid.UUID("5f0c6f0e-8a3b-4a52-9d4e-6f0a8a1b7c11")


@dataclass(frozen=True, slots=True)
class Host:
    """A host and what is used of it, by its compute's count. RAM in MiB, disk in GiB."""

    cell: str
    host: str
    vcpus: int
    ram: int
    disk: int
    vcpus_used: int
    ram_used: int
    disk_used: int

    @property
    def uuid(self) -> str:
        """The id by which its hypervisor is known: always the same for a name."""
        return str(uuid.uuid5(_NAMESPACE, self.host))


def find() -> list[Host]:
    """Return all hosts, by name."""
    found = []
    for cell in databases.cells()[1:]:
        columns = [COMPUTE_NODES.c[name] for name in Host.__slots__ if name != "cell"]
        with databases.cell(cell).read() as connection:
            found += [Host(cell, **row._mapping) for row in connection.execute(sa.select(*columns))]
    return sorted(found, key=lambda host: host.host)
