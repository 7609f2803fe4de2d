"""A server that moves to another cell is visible in both for a while.

Nova's own order: the copy in the target cell is shown, the mapping changed, and then the copy in
the source cell hidden; its API leaves out one of two servers with the same id. Whoever reads the
cells by himself finds it twice. Seen by *listed at most once* (8).
"""

from __future__ import annotations

from targets.reference.nova import cross_cell
from targets.reference.nova.cross_cell import Side
from targets.reference.nova.states import Task

_pass_the_say = cross_cell.pass_the_say


def _show_first(source: Side, dest: Side) -> None:
    shown = dest.instance.save(hidden=False, expected_task_state={Task.RESIZE_FINISH})
    if cross_cell.update_instance_mapping(source.instance, dest.instance.cell):
        hidden = shown.save(hidden=True, expected_task_state={Task.RESIZE_FINISH})
        _pass_the_say(source, Side(hidden, dest.migration))


def apply() -> None:
    """Show it at the target first."""
    cross_cell.pass_the_say = _show_first
