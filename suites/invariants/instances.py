"""What a server's record may say once everything is at rest."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld

RESTING = {
    "active", "stopped", "paused", "shelved", "shelved_offloaded", "soft-delete", "error", "resized"
}  # fmt: skip
"""VM states in which an instance may stay; with task state None."""


@invariant("instances-listed-once", checked="always", number=8)
def instances_listed_once(evidence: Evidence) -> Iterator[str]:
    """No server is visible in two cells: while it moves from one to the other, one is hidden."""
    world: CloudWorld = evidence.world
    seen: dict[str, list[str]] = {}
    for instance in world.instances:
        if not instance.hidden:
            seen.setdefault(instance.uuid, []).append(instance.cell)
    for uuid, cells in seen.items():
        if len(cells) > 1:
            yield f"server {uuid} is visible in {' and in '.join(cells)}"


@invariant("instances-at-rest", checked="settled", number=1)
def instances_at_rest(evidence: Evidence) -> Iterator[str]:
    """Every instance is in a state in which it may stay, or gone, with task state None."""
    world: CloudWorld = evidence.world
    for instance in world.instances:
        if instance.vm_state not in RESTING or instance.task_state is not None:
            yield (
                f"instance {instance.name} ({instance.uuid}) stays {instance.vm_state} with task "
                f"state {instance.task_state}"
            )
    for request in world.build_requests:
        yield f"instance {request.instance} is still a build request"
