"""A server that could not be scheduled has no action that tells of its creation.

Launchpad bug 1852458. The conductor writes such a server into cell0, and wrote the action
``create`` for those only that it gave to a host: whoever asked what had become of his server was
told nothing. Seen by *every action has an end* (11).
"""

from __future__ import annotations

from collections.abc import Sequence

from targets.reference.nova import build_task
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Task, Vm

_write = build_task._write_instance


def _write_instance(
    request: BuildRequest, cell: str, node: str | None, alternates: Sequence[str] = ()
) -> None:
    if node:
        _write(request, cell, node, alternates)
    else:
        Instance.create(cell, request, node, Vm.BUILDING, Task.SCHEDULING)


def apply() -> None:
    """Write the action only where there is a host."""
    build_task._write_instance = _write_instance
