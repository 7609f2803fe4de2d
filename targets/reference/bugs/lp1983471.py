"""A server that is shelved and on no host keeps its ports bound to the host that it was on.

Launchpad bug 1983471. The offload removed the guest, the volumes and the allocations, and left the
ports bound: the network goes on to send there what is the server's. Seen by *ports match
interfaces* (6).
"""

from __future__ import annotations

from targets.reference.nova import ports


def _unbind_host(port: str) -> None:
    pass


def apply() -> None:
    """Leave the ports as they are."""
    ports.unbind_host = _unbind_host
