"""A delete that a compute's death interrupted is never taken up again.

Launchpad bug 1247174. The call to remove the server is lost with the process that worked on it, and
a compute that started found a server marked as *deleting* and left it alone. Seen by *settled
states* (1) and *an accepted delete is fulfilled* (9).
"""

from __future__ import annotations

from targets.reference.nova.compute import recoverer
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Task

_recover = recoverer.recover


def _leave_deletes(host: Host, instance: Instance, give_up: bool) -> None:
    if instance.task_state != Task.DELETING:
        _recover(host, instance, give_up)


def apply() -> None:
    """Recover everything but deletes."""
    recoverer.recover = _leave_deletes
