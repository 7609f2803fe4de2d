"""The message bus: queues that outlive their consumers, casts, calls, and an answer to "all done?".

A small broker of our own (:mod:`.server`) so that the embedded control plane needs no server
installed; :mod:`.rpc` is the interface that services use, whatever broker is behind it.
"""

from targets.reference.bus.client import Bus, BusUnreachable, CallLost, CallTimeout, RemoteError
from targets.reference.bus.rpc import RpcClient, RpcServer

__all__ = [
    "Bus",
    "BusUnreachable",
    "CallLost",
    "CallTimeout",
    "RemoteError",
    "RpcClient",
    "RpcServer",
]
