"""A compute that died between a soft reboot's shutdown and start leaves the server stuck.

Launchpad bug 1072751. At start-up the guest does not run, so the soft reboot is retried as a hard
one; but the task state stays in the soft family, and the hard reboot's first save expects one of
the hard family: it fails with an unexpected task state. The server stays in ``reboot_started`` with
its guest shut off. Seen by *settled states* (1) and *guest running as recorded* (2).
"""

from __future__ import annotations

from targets.reference.nova.compute import power
from targets.reference.nova.instance import Instance


def _become_hard(instance: Instance) -> Instance:
    return instance


def apply() -> None:
    """Retry as a hard reboot without moving the task state."""
    power.become_hard = _become_hard
