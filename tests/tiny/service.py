"""What desk and carrier have in common: whose request it is, which bugs are in, being ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TypeVar

C = TypeVar("C")

WAKE = "carrier.socket"
"""Where in the run directory the carrier is told the key of a new send."""

TICK = "tick:"
"""What it is told there to have its timer come round, before the request on whose behalf."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """On whose behalf this thread works: the sender's of a cast, too."""
    return request_id.get()


def with_bugs(kind: type[C], bugs: Mapping[str, type[C]]) -> type[C]:
    """The class with what ``$TINY_BUGS`` puts into it."""
    wrong = [bugs[name] for name in os.environ["TINY_BUGS"].split(",") if name in bugs]
    return type(kind.__name__, tuple(wrong), {}) if wrong else kind


def notify_ready() -> None:
    """Tell whoever started this service that it serves now (sd_notify(3))."""
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.sendto(b"READY=1", address)
