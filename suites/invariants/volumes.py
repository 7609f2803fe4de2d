"""No volume is lost to its user."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Kind
from chaos.invariant import Evidence, invariant
from suites.invariants.asked import asked, seen, volumes
from suites.invariants.ending import may_end_with_server
from targets.cloud.world import CloudWorld


@invariant("volumes-survive", checked="always", number=5)
def volumes_survive(evidence: Evidence) -> Iterator[str]:
    """No volume is deleted that its user did not ask to delete, by itself or with its server.

    It goes with its server when it was attached so, unless a detach, or that it be kept, was
    accepted before the server's delete was asked for: then it is its user's own again.
    """
    world: CloudWorld = evidence.world
    alive = {volume.id for volume in world.volumes if volume.status != "deleting"}
    gone = {key: name for key, name in _known(evidence).items() if key not in alive}
    given_up = _deleted(evidence) | may_end_with_server(evidence) if gone else frozenset()
    for key, name in gone.items():
        if key not in given_up:
            yield f"volume {name} ({key}) was deleted, and nobody asked for it"


def _known(evidence: Evidence) -> dict[str, str]:
    """The id and the name of every volume that was there at some moment."""
    looked_ns = evidence.observations[-1].at_ns
    return seen(evidence, "volume") | {
        done.answer["id"]: done.arguments["name"]
        for done in asked(evidence, "volume.create")
        if done.outcome is Kind.OK and (done.ended_ns or 0) <= looked_ns
    }


def _deleted(evidence: Evidence) -> frozenset[str]:
    """The volumes whose own delete was asked for."""
    ids = (volumes(evidence, done) for done in asked(evidence, "volume.delete"))
    return frozenset().union(*ids)
