"""Volumes, their attachments, and the compute service's block devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld


@invariant("attachments-match-block-devices", checked="settled", number=5)
def attachments_match_block_devices(evidence: Evidence) -> Iterator[str]:
    """Attachments and block devices pair up one to one, and the volume's status agrees."""
    world: CloudWorld = evidence.world
    attachments = {a.id: a for a in world.attachments}
    devices = Counter(d.attachment for d in world.block_devices if d.volume)
    for device in world.block_devices:
        attachment = attachments.get(device.attachment)
        if device.volume and attachment is None:
            yield (
                f"block device {device.id} of {device.instance} names attachment "
                f"{device.attachment} of volume {device.volume}, which does not exist"
            )
        elif attachment and (attachment.volume, attachment.instance) != (
            device.volume,
            device.instance,
        ):
            yield (
                f"block device {device.id} is of {device.instance} and volume {device.volume}, its "
                f"attachment {attachment.id} of {attachment.instance} and {attachment.volume}"
            )
    had = Counter((d.cell, d.instance, d.volume) for d in world.block_devices if d.volume)
    for (_, owner, twice), number in had.items():
        if number > 1:
            yield f"{owner} has volume {twice} {number} times"
    # On no host, and its volumes with it; or on another cell's host.
    away = {
        (i.cell, i.uuid) for i in world.instances if i.vm_state == "shelved_offloaded" or i.hidden
    }
    parked = {d.attachment for d in world.block_devices if (d.cell, d.instance) in away}
    kept = {a.volume for a in world.attachments if a.id in parked}
    kept -= {a.volume for a in world.attachments if a.id not in parked}
    for attachment in world.attachments:
        if devices[attachment.id] != 1:
            yield (
                f"attachment {attachment.id} of volume {attachment.volume} has "
                f"{devices[attachment.id]} block devices"
            )
        if attachment.status != ("reserved" if attachment.id in parked else "attached"):
            yield f"attachment {attachment.id} of {attachment.volume} stays {attachment.status}"
    used = Counter(a.volume for a in world.attachments)
    for lost in sorted(used.keys() - {volume.id for volume in world.volumes}):
        yield f"volume {lost} does not exist and has {used[lost]} attachments"
    yield from _connections(world)
    for volume in world.volumes:
        expected = {"in-use"} if used[volume.id] else {"available", "error"}
        if volume.id in kept:
            expected = {"reserved"}
        if volume.status not in expected:
            yield (
                f"volume {volume.name} ({volume.id}) is {volume.status} with "
                f"{used[volume.id]} attachments"
            )


def _connections(world: CloudWorld) -> Iterator[str]:
    """A host is connected to the volumes that its guests have, and to none that no server has."""
    connected = {(c.host, c.volume) for c in world.host_connections}
    used = {(guest.host, volume) for guest in world.guests for volume in guest.disks}
    homes = {instance.uuid: instance.host for instance in world.instances if not instance.hidden}
    owned = {(homes.get(device.instance), device.volume) for device in world.block_devices}
    for host, volume in sorted(connected - used - owned):
        yield f"{host} is connected to volume {volume}, which none of its servers has"
    for host, volume in sorted(used - connected):
        yield f"a guest on {host} has volume {volume}, to which {host} is not connected"
