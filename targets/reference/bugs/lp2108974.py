"""A server that moves to another cell loses its key pair.

Launchpad bug 2108974. The key pair was not among what was copied to the target cell. Seen by the
plan that looks for it there.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from targets.reference.nova import cell_copies
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import Migration
from targets.reference.nova.tables import INSTANCES

_read = cell_copies._read


def _read_without_key(
    instance: Instance, migration: Migration
) -> dict[sa.Table, list[dict[str, Any]]]:
    copied = _read(instance, migration)
    for row in copied[INSTANCES]:
        row["attributes"] = {**row["attributes"], "key_name": None}
    return copied


def _adopt_nothing(copy: Instance, current: Instance) -> Step:
    return lambda _: None


def apply() -> None:
    """Copy everything else, and nothing again later."""
    cell_copies._read = _read_without_key
    cell_copies.adopt_words = _adopt_nothing
