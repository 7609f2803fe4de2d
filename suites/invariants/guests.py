"""Guests of the hypervisors, and the instances that they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld


@invariant("guests-match-instances", checked="settled", number=2)
def guests_match_instances(evidence: Evidence) -> Iterator[str]:
    """A guest runs if and only if one visible ACTIVE instance is on its host; none is orphaned."""
    world: CloudWorld = evidence.world
    visible = {i.uuid: i for i in world.instances if not i.hidden}
    for uuid, count in Counter(i.uuid for i in world.instances if not i.hidden).items():
        if count > 1:
            yield f"instance {visible[uuid].name} ({uuid}) is visible in {count} cells"
    homes = Counter(guest.uuid for guest in world.guests)
    for guest in world.guests:
        owner = visible.get(guest.uuid)
        if owner is None:
            yield f"guest {guest.uuid} on {guest.host} belongs to no instance"
        elif homes[guest.uuid] > 1:
            yield f"guest {guest.uuid} exists on {homes[guest.uuid]} hosts, one is {guest.host}"
        elif owner.host != guest.host:
            yield f"guest {guest.uuid} is on {guest.host}, its instance says {owner.host}"
        elif (owner.vm_state == "active") != (guest.power == "running"):
            yield f"instance {owner.name} is {owner.vm_state}, its guest is {guest.power}"
    for instance in visible.values():
        if instance.vm_state in {"active", "stopped"} and instance.uuid not in homes:
            yield f"instance {instance.name} is {instance.vm_state}, but has no guest"
