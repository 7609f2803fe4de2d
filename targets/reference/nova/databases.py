"""The databases of the compute service: one for the API, one per cell.

``cell0`` has no hosts: servers that could not be scheduled are buried there. A compute and its
cell's conductor share the cell's database; a compute here reads and writes it directly, where
Nova's asks its conductor to.
"""

from __future__ import annotations

import os
from functools import cache

import sqlalchemy as sa

from targets.reference import database
from targets.reference.database import Database
from targets.reference.nova import tables

CELL0 = "cell0"


def cells() -> tuple[str, ...]:
    """Name all cells, cell0 first; those with hosts come from ``REFERENCE_CELLS``."""
    return CELL0, *os.environ.get("REFERENCE_CELLS", "cell1").split(",")


def local_cell() -> str:
    """Name the cell of this compute, from ``REFERENCE_CELL``."""
    return os.environ.get("REFERENCE_CELL", "cell1")


@cache
def api() -> Database:
    """Open the API database."""
    return database.open_database("nova_api", tables.API)


@cache
def cell(name: str) -> Database:
    """Open a cell's database."""
    return database.open_database(f"nova_{name}", tables.CELL)


def cell_of_host(host: str) -> str:
    """Find the cell in which a compute has registered its host.

    Raises:
        LookupError: none has.
    """
    query = sa.select(tables.COMPUTE_NODES.c.host).filter_by(host=host)
    for name in cells()[1:]:
        with cell(name).read() as connection:
            if connection.execute(query).first():
                return name
    raise LookupError(f"no cell has a host called {host}")
