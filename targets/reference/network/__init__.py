"""Network service (Neutron v2.0): networks, subnets, and the ports on them."""

from targets.reference.network.api import main
from targets.reference.network.store import METADATA

__all__ = ["METADATA", "main"]
