"""Two servers of a host that lose a shared volume at once leave the host connected to it.

Launchpad bug 2048837. Whoever detaches a volume asks whether another server of the host has it
still, and disconnects the host only if none has. Of two who ask at the same time each is told of
the other one, so that neither disconnects. Seen by *attachments match block devices* (5).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host


def _users_of(host: Host, volume: str) -> AbstractContextManager[None]:
    return nullcontext()


def apply() -> None:
    """Let several ask and disconnect at a time."""
    devices.users_of = _users_of
