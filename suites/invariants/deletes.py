"""A delete is fulfilled."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Done, Kind
from chaos.invariant import Evidence, invariant
from suites.invariants.asked import asked, servers
from suites.invariants.ending import must_end_with_server
from targets.cloud.world import CloudWorld


@invariant("deletes-fulfilled", checked="settled", number=9)
def deletes_fulfilled(evidence: Evidence) -> Iterator[str]:
    """An accepted delete is fulfilled: the server is gone, with every record of it.

    So is a volume that was to end with it, when nothing else that was asked may have saved it.
    Or it is kept for a while, where that is set, and its user may have it back.
    """
    accepted = {
        server: done
        for done in asked(evidence, "server.delete")
        if done.outcome is Kind.OK and not _found_nothing(done)
        for server in servers(evidence, done)
    }
    kept = {i.uuid for i in evidence.world.instances if i.vm_state == "soft-delete"}
    kept |= {s for done in asked(evidence, "server.restore") for s in servers(evidence, done)}
    for server, done in accepted.items():
        if server in kept:
            continue
        left = [*_left_of(server, evidence.world), *_volumes_left(evidence, done)]
        if left:
            yield (
                f"the delete of {done.arguments['server']} ({server}) was accepted, "
                f"but there is still: {', '.join(left)}"
            )


def _found_nothing(delete: Done) -> bool:
    """Whether there was no such server, not even one that is gone: nothing was promised then."""
    return bool(delete.answer == {"status": 404, "server": None})


def _volumes_left(evidence: Evidence, delete: Done) -> Iterator[str]:
    ends = must_end_with_server(evidence, delete)
    for volume in evidence.world.volumes:
        if volume.id in ends and volume.status != "deleting":
            yield f"volume {volume.name} ({volume.id}), {volume.status}"


def _left_of(server: str, world: CloudWorld) -> Iterator[str]:
    yield from (f"instance in {i.cell}" for i in world.instances if i.uuid == server)
    yield from ("build request" for r in world.build_requests if r.instance == server)
    yield from ("instance mapping" for m in world.instance_mappings if m.instance == server)
    yield from (f"block device {d.id}" for d in world.block_devices if d.instance == server)
    yield from (f"attachment {a.id}" for a in world.attachments if a.instance == server)
    yield from (f"port {p.id}" for p in world.ports if p.device == server)
    yield from (f"{a.resource} of {a.provider}" for a in world.allocations if a.consumer == server)
    yield from (f"guest on {g.host}" for g in world.guests if g.uuid == server)
