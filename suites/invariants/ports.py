"""Network ports, and the servers that have them."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld


@invariant("ports-match-interfaces", checked="settled", number=6)
def ports_match_interfaces(evidence: Evidence) -> Iterator[str]:
    """A port belongs to the one server that names it, and is bound to its host, if it has one."""
    world: CloudWorld = evidence.world
    visible = {i.uuid: i for i in world.instances if not i.hidden}
    ports = {port.id: port for port in world.ports}
    for port in world.ports:
        owner = visible.get(port.device)
        if port.device and owner is None:
            yield f"port {port.id} belongs to {port.device}, which does not exist"
        elif owner and port.id not in owner.ports:
            yield f"port {port.id} belongs to {owner.name}, whose record does not name it"
        elif owner and owner.vm_state != "error" and port.host != (owner.host or ""):
            yield (
                f"port {port.id} of {owner.name} is bound to {port.host or 'no host'}, the server "
                f"is on {owner.host or 'none'}"
            )
    for instance in visible.values():
        for name in instance.ports:
            if name not in ports or ports[name].device != instance.uuid:
                yield f"{instance.name} names port {name}, which is not its own"
