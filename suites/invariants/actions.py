"""What was asked of instances, and what was told of it."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld, Notification


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
    begun: dict[tuple[str, str, str, str], Notification] = {}
    for told in world.notifications:
        what = (told.cell, told.request, told.instance, told.event_type)
        name = f"{told.event_type} of {told.instance} on {told.host} ({told.request})"
        if told.phase == "start":
            if what in begun:
                yield f"{name} is told to begin twice"
            begun[what] = told
        elif begun.pop(what, None) is None:
            yield f"{name} is told to {told.phase}, and was not told to begin"
    for cell, request, uuid, event_type in begun:
        yield f"{event_type} of {uuid} ({request}) is told to begin in {cell}, and not to end"
