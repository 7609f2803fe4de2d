"""The message bus: queues that outlive their consumers, casts, calls, and an answer to "all done?".

A small broker of our own (:mod:`.server`) so that the embedded control plane needs no server
installed, or RabbitMQ (:mod:`.rabbit`), as the address says; :mod:`.rpc` is the interface that
services use, whatever broker is behind it.
"""

from targets.reference.bus.client import Bus, BusUnreachable, CallLost, CallTimeout, RemoteError
from targets.reference.bus.rpc import RpcClient, RpcServer


def connect(address: str, token: str) -> Bus:
    """Return a connection to our own broker, ``host:port``, or to RabbitMQ, ``amqp://…``."""
    if address.startswith("amqp://"):
        from targets.reference.bus.rabbit_bus import RabbitBus  # kombu is needed nowhere else

        return RabbitBus(address)
    return Bus(address, token)


__all__ = [
    "Bus",
    "BusUnreachable",
    "CallLost",
    "CallTimeout",
    "RemoteError",
    "RpcClient",
    "RpcServer",
    "connect",
]
