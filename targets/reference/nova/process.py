"""What the processes of the compute service do alike at their beginning and end."""

from __future__ import annotations

import signal

from targets.reference import bugs, config, context
from targets.reference.web import notify_ready


def begin() -> None:
    """Log to standard error and put in the bug switches that are on."""
    context.log_to_stderr()
    bugs.apply_named(config.current().bugs)


def serve() -> None:
    """Report readiness; other threads do the work from now on, until a signal ends the process."""
    notify_ready()
    while True:
        signal.pause()
