"""A second delete of a booting server fails with a 500 when the first one was a little faster.

Launchpad bug 1914777. The delete finds the build request gone and looks the instance up in its
cell; when another request or the conductor has removed that as well there is no instance, and the
code goes on as if there were. Seen by *an accepted delete is fulfilled* (9) and *no 5xx* (10).
"""

from __future__ import annotations

from targets.reference.nova import deletion
from targets.reference.nova.instance import Instance


def _delete_in_cell(uuid: str) -> None:
    instance: Instance = deletion.instance_in_cell(uuid)  # type: ignore[assignment]
    deletion.delete_instance(instance)


def apply() -> None:
    """Take for granted that the instance is there."""
    deletion.delete_in_cell = _delete_in_cell
