"""The loopback ports of a topology, held for as long as its services come and go."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

from chaos.errors import TargetError, nearest
from targets.topology import Topology


class Ports(dict[str, int]):
    """The number of each port that is held: bound and not listening, so it refuses connections."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._topology = topology
        self._held = ExitStack()

    def __missing__(self, name: str) -> int:
        names = self._topology.port_names
        why = "the target is not started" if name in names else nearest(name, names)
        raise TargetError(f"there is no port `{name}`: {why}")

    def hold(self) -> None:
        """Hold all of them until :meth:`release`.

        Raises:
            TargetError: one that the topology fixes is taken, or may not be used.
        """
        for name in self._topology.port_names:
            number = self._topology.ports.get(name, 0)
            try:
                self[name] = self._hold(number)
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                raise TargetError(
                    f"the topology fixes port {number} for `{name}`, which "
                    + ("is taken on this machine" if taken else f"fails: {error.strerror}")
                ) from error

    def release(self) -> None:
        """Let go of all of them; safe to call twice."""
        self._held.close()
        self.clear()

    def _hold(self, number: int) -> int:
        if number:
            # Two holders could share a port that nobody listens on; a name cannot be shared.
            claim = self._held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            claim.bind(f"\0chaos-port-{number}")
        holder = self._held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", number))
        bound: int = holder.getsockname()[1]
        return bound
