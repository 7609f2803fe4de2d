"""Placement's allocations, and the instances that they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld, Instance


@invariant("allocations-match-instances", checked="settled", number=3)
def allocations_match_instances(evidence: Evidence) -> Iterator[str]:
    """Allocations are the sum of the flavors of the instances on a host; none lacks an owner."""
    world: CloudWorld = evidence.world
    owed = Counter(
        {
            (instance.uuid, instance.host, resource): amount
            for instance in world.instances
            if instance.host and not instance.hidden
            for resource, amount in _flavor(instance).items()
            if amount
        }
    )
    held = Counter({(a.consumer, a.provider, a.resource): a.amount for a in world.allocations})
    for consumer, provider, resource in sorted(held.keys() | owed.keys(), key=str):
        place = (consumer, provider, resource)
        if held[place] != owed[place]:
            yield (
                f"{consumer} holds {held[place]} {resource} on {provider}, "
                f"its flavor there needs {owed[place]}"
            )


def _flavor(instance: Instance) -> dict[str, int]:
    return {"VCPU": instance.vcpus, "MEMORY_MB": instance.ram, "DISK_GB": instance.disk}
