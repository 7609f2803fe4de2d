"""What a compute has counted, and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from chaos.invariant import Evidence, invariant
from suites.invariants.migrations import in_progress
from targets.cloud.world import CloudWorld, ComputeNode, Instance, Migration, Usage


@invariant("usage-tracked", checked="always", number=4)
def usage_tracked(evidence: Evidence) -> Iterator[str]:
    """A host's tracked usage is that of its servers and moves; never negative or above capacity.

    Servers that are being deleted may exceed the capacity: placement has given theirs away.
    """
    world: CloudWorld = evidence.world
    for node in world.compute_nodes:
        tracked, there, has = asdict(node.used), _derived(world, node), asdict(node.has)
        staying = _derived(world, node, leaving=False)
        for resource in has:
            if tracked[resource] != there[resource]:
                yield (
                    f"{node.host} has counted {tracked[resource]} {resource} in use, "
                    f"its servers and moves have {there[resource]}"
                )
            if tracked[resource] < 0 or staying[resource] > has[resource]:
                yield f"{node.host} uses {tracked[resource]} {resource} of {has[resource]}"


def _derived(world: CloudWorld, node: ComputeNode, leaving: bool = True) -> Counter[str]:
    servers = {
        i.uuid: i
        for i in world.instances
        if i.cell == node.cell and (leaving or i.task_state != "deleting")
    }
    used: Counter[str] = Counter()
    for server in servers.values():
        if server.host == node.host:
            used.update({"vcpus": server.vcpus, "ram": server.ram, "disk": server.disk})
    for move in in_progress(world):
        if move.cell == node.cell and move.instance in servers:
            beside = _beside(move, servers[move.instance], node.host)
            used.update(asdict(beside) if beside else {})
    return used


def _beside(move: Migration, server: Instance, host: str) -> Usage | None:
    """What a move has on ``host`` beside its server itself."""
    if host not in (move.source, move.dest):
        return None
    if move.source == move.dest:
        return move.old if Usage(server.vcpus, server.ram, server.disk) == move.new else move.new
    if server.host == host:
        return None
    return move.old if host == move.source else move.new
