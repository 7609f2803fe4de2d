"""What counts as used is what its user can see."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld


@invariant("quota-matches-servers", checked="settled", number=7)
def quota_matches_servers(evidence: Evidence) -> Iterator[str]:
    """Each server that its user can see counts as one of its project's, and nothing else does.

    One that is deleted softly counts: its user may have it back.
    """
    world: CloudWorld = evidence.world
    visible = {instance.uuid for instance in world.instances if not instance.hidden}
    visible |= {request.instance for request in world.build_requests}
    counted = {usage.instance: usage.project for usage in world.quota_usages}
    for gone in sorted(counted.keys() - visible):
        yield f"server {gone} of project {counted[gone]} counts, and is there no more"
    for uncounted in sorted(visible - counted.keys()):
        yield f"server {uncounted} is there, and does not count"
