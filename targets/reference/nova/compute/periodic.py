"""Periodic tasks: what a compute does again and again by itself.

No clock drives them here: whoever runs the control plane says when, so that one comes exactly when
a plan wants it, and an idle compute is idle. A module adds one by decorating a function::

    @periodic_task
    def sync_power_states(host: Host) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable

from targets.reference import context, tokens
from targets.reference.nova.compute.host import Host

PeriodicTask = Callable[[Host], None]
_TASKS: dict[str, PeriodicTask] = {}


def periodic_task(task: PeriodicTask) -> PeriodicTask:
    """Let the decorated function be run under its name."""
    _TASKS[task.__name__] = task
    return task


class PeriodicTasks:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run_periodic_task(self, name: str) -> None:
        """Run one task once; return when it is done.

        Raises:
            LookupError: there is no such task.
        """
        if name not in _TASKS:
            raise LookupError(f"no periodic task `{name}`; there are {', '.join(sorted(_TASKS))}")
        with context.use(tokens.service_context(context.current().request_id)):
            _TASKS[name](self._host)
