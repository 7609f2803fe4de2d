"""What was asked of instances, and what was told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld, Notification

ACROSS = frozenset({"instance.resize_revert"})
"""What may be told to begin in one cell and to end in another."""


@invariant("actions-are-told", checked="settled", number=11)
def actions_are_told(evidence: Evidence) -> Iterator[str]:
    """Every action has an end, and each server one that made it; notifications come in pairs."""
    world: CloudWorld = evidence.world
    created = {action.instance for action in world.actions if action.action == "create"}
    for instance in world.instances:
        if instance.uuid not in created:
            yield f"nothing tells of the creation of {instance.name} ({instance.uuid})"
    for action in world.actions:
        if not action.finished:
            yield f"{action.action} of {action.instance} ({action.request}) has no end"
    yield from _in_pairs(world)


def _in_pairs(world: CloudWorld) -> Iterator[str]:
    """What begins ends, in its cell; or in the one to which the server has gone back meanwhile."""
    begun: dict[tuple[str, str, str, str], Notification] = {}
    ended: Counter[tuple[str, str, str]] = Counter()
    for told in world.notifications:
        what = (told.cell, told.request, told.instance, told.event_type)
        if told.phase == "exists":
            continue
        name = f"{told.event_type} of {told.instance} on {told.host} ({told.request})"
        if told.phase == "start":
            if what in begun:
                yield f"{name} is told to begin twice"
            begun[what] = told
        elif begun.pop(what, None) is None:
            if told.event_type in ACROSS:
                ended[what[1:]] += 1
            else:
                yield f"{name} is told to {told.phase}, and was not told to begin"
    for cell, request, uuid, event_type in begun:
        if ended[request, uuid, event_type]:
            ended[request, uuid, event_type] -= 1
            continue
        yield f"{event_type} of {uuid} ({request}) is told to begin in {cell}, and not to end"
    for request, uuid, event_type in ended.elements():
        yield f"{event_type} of {uuid} ({request}) is told to end, and was not told to begin"
