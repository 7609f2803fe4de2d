"""Placement's allocations, and the instances that they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from suites.invariants.migrations import in_progress
from targets.cloud.world import CloudWorld, Instance, Usage


@invariant("allocations-match-instances", checked="settled", number=3)
def allocations_match_instances(evidence: Evidence) -> Iterator[str]:
    """Allocations are what the instances and moves of a host need there; none lacks an owner."""
    world: CloudWorld = evidence.world
    owed = Counter(
        {
            (consumer, host, resource): amount
            for consumer, host, flavor in _consumers(world)
            for resource, amount in _resources(flavor).items()
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


def _consumers(world: CloudWorld) -> Iterator[tuple[str, str, Instance | Usage]]:
    """Who needs what on which host: instances, and moves that keep their source's place."""
    for instance in world.instances:
        if instance.host and not instance.hidden:
            yield instance.uuid, instance.host, instance
    for migration in in_progress(world):
        # A server that is evacuated holds both places itself.
        evacuated = migration.kind == "evacuation"
        holder = migration.instance if evacuated else migration.uuid
        yield holder, str(migration.dest if evacuated else migration.source), migration.old


def _resources(flavor: Instance | Usage) -> dict[str, int]:
    return {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram, "DISK_GB": flavor.disk}
