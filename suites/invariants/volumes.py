"""No volume is lost to its user."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Done, Kind
from chaos.invariant import Evidence, invariant
from suites.invariants.asked import asked, called, seen, servers, volumes
from targets.cloud.world import CloudWorld


@invariant("volumes-survive", checked="always", number=5)
def volumes_survive(evidence: Evidence) -> Iterator[str]:
    """No volume is deleted that its user did not ask to delete, by itself or with its server.

    It goes with its server when it was attached so, unless a detach was accepted before the
    server's delete was asked for: then it is its user's own again.
    """
    world: CloudWorld = evidence.world
    alive = {volume.id for volume in world.volumes if volume.status != "deleting"}
    gone = {key: name for key, name in _known(evidence).items() if key not in alive}
    given_up = _deleted(evidence) | _gone_with_server(evidence) if gone else frozenset()
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


def _gone_with_server(evidence: Evidence) -> frozenset[str]:
    """The volumes that were to end with a server whose delete was asked for."""
    detaches = [d for d in asked(evidence, "volume.detach") if d.outcome is Kind.OK]
    return frozenset(
        volume
        for attach, on, attached in _attached_to_end_with_server(evidence)
        for delete in asked(evidence, "server.delete")
        if on & servers(evidence, delete) and not _is_over(attach, delete)
        for volume in attached
        if not any(
            on & servers(evidence, detach)
            and volume in volumes(evidence, detach)
            and attach.invoked_ns <= detach.invoked_ns
            and _is_over(delete, detach)
            for detach in detaches
        )
    )


def _attached_to_end_with_server(
    evidence: Evidence,
) -> Iterator[tuple[Done, frozenset[str], frozenset[str]]]:
    """Each operation that asked for it, the server that it is about, and the volumes."""
    for done in asked(evidence, "volume.attach"):
        if done.arguments.get("delete_on_termination"):
            yield done, servers(evidence, done), volumes(evidence, done)
    for done in asked(evidence, "server.create"):
        if done.arguments.get("delete_on_termination"):
            names = done.arguments.get("volumes", ())
            attached = frozenset().union(*(called(evidence, "volume", name) for name in names))
            yield done, called(evidence, "server", done.arguments["name"]), attached


def _is_over(later: Done, earlier: Done) -> bool:
    """Whether ``earlier`` was answered, with success, before ``later`` was asked for."""
    return (
        earlier.outcome is Kind.OK
        and earlier.ended_ns is not None
        and earlier.ended_ns <= later.invoked_ns
    )
