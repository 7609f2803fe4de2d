"""Moves of servers come to an end."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld, Migration

OVER = {"confirmed", "reverted", "error", "failed", "cancelled", "completed"}
"""Statuses that are final. An evacuation that is *done* waits for its source to come back."""


@invariant("migrations-end", checked="settled", number=12)
def migrations_end(evidence: Evidence) -> Iterator[str]:
    """Every migration is over, or finished and its server waits for its user's decision."""
    world: CloudWorld = evidence.world
    waiting = {i.uuid for i in world.instances if i.vm_state == "resized"}
    for migration in world.migrations:
        verify = migration.status == "finished" and migration.instance in waiting
        if migration.status not in OVER and not verify:
            yield (
                f"the {migration.kind} of {migration.instance} from {migration.source} to"
                f" {migration.dest} stays {migration.status}"
            )


def in_progress(world: CloudWorld) -> list[Migration]:
    """Return the migrations of servers that exist, as long as both hosts are kept for them."""
    alive, over = {instance.uuid for instance in world.instances}, OVER | {"done"}
    return [m for m in world.migrations if m.status not in over and m.instance in alive]
