"""A second delete of a booting server fails with a 500 when the first one was a little faster.

Launchpad bug 1914777. The delete finds the build request gone and looks the instance up in its
cell; when another request or the conductor has removed that as well there is no instance, and the
code goes on as if there were. Likewise when another one has deleted the record that it was about to
delete: that no row was left was taken for "host changed". Seen by *an accepted delete is fulfilled*
(9) and *no 5xx* (10).
"""

from __future__ import annotations

from typing import Any

from targets.reference.nova import deletion
from targets.reference.nova.instance import Instance

_remove = deletion.remove_unhosted
_destroy_quietly = Instance.destroy
_destroyed: dict[str, bool] = {}


def _delete_in_cell(uuid: str) -> None:
    instance: Instance = deletion.instance_in_cell(uuid)  # type: ignore[assignment]
    deletion.delete_instance(instance)


def _remove_unhosted(instance: Instance) -> None:
    _remove(instance)
    if not _destroyed.pop(instance.uuid, True):
        raise RuntimeError(f"instance {instance.uuid} could not be deleted: host changed")


def _destroy(self: Instance, also: Any = None) -> bool:
    _destroyed[self.uuid] = _destroy_quietly(self, also)
    return _destroyed[self.uuid]


def apply() -> None:
    """Take for granted that the instance is there, from the first look to the last step."""
    deletion.delete_in_cell = _delete_in_cell
    deletion.remove_unhosted = _remove_unhosted
    Instance.destroy = _destroy  # type: ignore[method-assign]
