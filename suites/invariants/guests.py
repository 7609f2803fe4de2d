"""Guests of the hypervisors, and the instances that they belong to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from suites.invariants.migrations import in_progress
from targets.cloud.world import CloudWorld, Guest, Instance

_POWER = {
    "active": {"running"},
    "stopped": {"shutdown", "crashed"},
    "paused": {"paused"},
    "resized": {"running", "shutdown", "crashed"},
}
"""What a guest does, by its instance's VM state."""
_RECORDED = {1: "running", 3: "paused", 4: "shutdown", 6: "crashed"}


@invariant("guests-match-instances", checked="settled", number=2)
def guests_match_instances(evidence: Evidence) -> Iterator[str]:
    """A guest does, and has, what one visible instance on its host says; none is orphaned."""
    world: CloudWorld = evidence.world
    volumes: dict[str, set[str]] = defaultdict(set)
    visible = {i.uuid: i for i in world.instances if not i.hidden}
    for device in world.block_devices:
        if device.instance in visible and visible[device.instance].cell == device.cell:
            volumes[device.instance].add(device.volume)
    for uuid, count in Counter(i.uuid for i in world.instances if not i.hidden).items():
        if count > 1:
            yield f"instance {visible[uuid].name} ({uuid}) is visible in {count} cells"
    left = {(move.instance, move.source) for move in in_progress(world) if move.source != move.dest}
    here = [guest for guest in world.guests if (guest.uuid, guest.host) not in left]
    for guest in world.guests:
        if (guest.uuid, guest.host) in left and guest.power == "running":
            yield f"guest {guest.uuid} runs on {guest.host}, which it has left"
    homes = Counter(guest.uuid for guest in here)
    for guest in here:
        owner = visible.get(guest.uuid)
        if owner is None:
            yield f"guest {guest.uuid} on {guest.host} belongs to no instance"
        elif homes[guest.uuid] > 1:
            yield f"guest {guest.uuid} exists on {homes[guest.uuid]} hosts, one is {guest.host}"
        elif owner.host != guest.host:
            yield f"guest {guest.uuid} is on {guest.host}, its instance says {owner.host}"
        elif owner.vm_state in _POWER:
            yield from _unlike(owner, guest, volumes[guest.uuid])
    for instance in visible.values():
        if instance.vm_state in _POWER and instance.uuid not in homes:
            yield f"instance {instance.name} is {instance.vm_state}, but has no guest"


def _unlike(owner: Instance, guest: Guest, volumes: set[str]) -> Iterator[str]:
    """How a guest differs from what the records say."""
    recorded = _RECORDED.get(owner.power_state, "not there")
    if guest.power not in _POWER[owner.vm_state]:
        yield f"instance {owner.name} is {owner.vm_state}, its guest is {guest.power}"
    elif recorded != guest.power:
        yield f"instance {owner.name} is recorded as {recorded}, its guest is {guest.power}"
    if set(guest.disks) != volumes:
        yield (
            f"the guest of {owner.name} has the disks {sorted(guest.disks)}, "
            f"its block devices are {sorted(volumes)}"
        )
