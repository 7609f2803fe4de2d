"""The reference on PostgreSQL and RabbitMQ, which must be installed.

chaos run suites --target suites.on_servers:target
"""

from suites.invariants import *  # noqa: F403 - the target's words are those of the library
from targets.embedded.on_servers import target

__all__ = ["target"]
