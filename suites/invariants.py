"""The library of invariants for a compute control plane, as in the published list of scenarios.

Each is a pure function from evidence to sentences; its number is its place in that list. The
thirteenth, *recoverable*, is built into the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from chaos.history import Done, Kind
from chaos.invariant import Evidence, invariant
from targets.cloud.world import CloudWorld, Instance

RESTING = {"active", "stopped", "error", "resized"}
"""VM states in which an instance may stay; with task state None."""


@invariant("instances-at-rest", checked="settled", number=1)
def instances_at_rest(evidence: Evidence) -> Iterator[str]:
    """Every instance is ACTIVE, SHUTOFF, ERROR, VERIFY_RESIZE or gone, with task state None."""
    world: CloudWorld = evidence.world
    for instance in world.instances:
        if instance.vm_state not in RESTING or instance.task_state is not None:
            yield (
                f"instance {instance.name} ({instance.uuid}) stays {instance.vm_state} with task "
                f"state {instance.task_state}"
            )
    for request in world.build_requests:
        yield f"instance {request.instance} is still a build request"


@invariant("guests-match-instances", checked="settled", number=2)
def guests_match_instances(evidence: Evidence) -> Iterator[str]:
    """A guest runs if and only if one visible ACTIVE instance is on its host; none is orphaned."""
    world: CloudWorld = evidence.world
    visible = {i.uuid: i for i in world.instances if not i.hidden}
    for uuid, count in Counter(i.uuid for i in world.instances if not i.hidden).items():
        if count > 1:
            yield f"instance {visible[uuid].name} ({uuid}) is visible in {count} cells"
    homes = Counter(guest.uuid for guest in world.guests)
    for guest in world.guests:
        owner = visible.get(guest.uuid)
        if owner is None:
            yield f"guest {guest.uuid} on {guest.host} belongs to no instance"
        elif homes[guest.uuid] > 1:
            yield f"guest {guest.uuid} exists on {homes[guest.uuid]} hosts, one is {guest.host}"
        elif owner.host != guest.host:
            yield f"guest {guest.uuid} is on {guest.host}, its instance says {owner.host}"
        elif (owner.vm_state == "active") != (guest.power == "running"):
            yield f"instance {owner.name} is {owner.vm_state}, its guest is {guest.power}"
    for instance in visible.values():
        if instance.vm_state in {"active", "stopped"} and instance.uuid not in homes:
            yield f"instance {instance.name} is {instance.vm_state}, but has no guest"


@invariant("allocations-match-instances", checked="settled", number=3)
def allocations_match_instances(evidence: Evidence) -> Iterator[str]:
    """Allocations are the sum of the flavors of the instances on a host; none lacks an owner."""
    world: CloudWorld = evidence.world
    owed = Counter(
        {
            (instance.uuid, instance.host, resource): amount
            for instance in world.instances
            if instance.host and not instance.hidden
            for resource, amount in _flavor(instance).items()
            if amount
        }
    )
    held = Counter({(a.consumer, a.provider, a.resource): a.amount for a in world.allocations})
    for consumer, provider, resource in sorted(held.keys() | owed.keys(), key=str):
        place = (consumer, provider, resource)
        if held[place] != owed[place]:
            yield (
                f"{consumer} holds {held[place]} {resource} on {provider}, "
                f"its flavor there needs {owed[place]}"
            )


def _flavor(instance: Instance) -> dict[str, int]:
    return {"VCPU": instance.vcpus, "MEMORY_MB": instance.ram, "DISK_GB": instance.disk}


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
    for attachment in world.attachments:
        if devices[attachment.id] != 1:
            yield (
                f"attachment {attachment.id} of volume {attachment.volume} has "
                f"{devices[attachment.id]} block devices"
            )
        if attachment.status != "attached":
            yield f"attachment {attachment.id} of {attachment.volume} stays {attachment.status}"
    used = Counter(a.volume for a in world.attachments)
    for lost in sorted(used.keys() - {volume.id for volume in world.volumes}):
        yield f"volume {lost} does not exist and has {used[lost]} attachments"
    for volume in world.volumes:
        expected = {"in-use"} if used[volume.id] else {"available", "error"}
        if volume.status not in expected:
            yield (
                f"volume {volume.name} ({volume.id}) is {volume.status} with "
                f"{used[volume.id]} attachments"
            )


@invariant("volumes-survive", checked="always", number=5)
def volumes_survive(evidence: Evidence) -> Iterator[str]:
    """No volume is deleted that its user did not ask to delete, by itself or with its server."""
    asked = _asked(evidence, "volume.delete", "volume")
    deleted = _deleted_servers(evidence)
    world: CloudWorld = evidence.world
    alive = {volume.id for volume in world.volumes if volume.status != "deleting"}
    for ident, seen in _last_seen_alive(evidence).items():
        volume = next(v for v in seen.volumes if v.id == ident)
        # Once its attachment is gone a volume is its own again, whatever a stale mapping says.
        goes_with_server = any(a.volume == ident for a in seen.attachments) and any(
            d.volume == ident and d.delete_on_termination and d.instance in deleted
            for d in seen.block_devices
        )
        if ident not in alive and volume.name not in asked and not goes_with_server:
            yield f"volume {volume.name} ({ident}) was deleted, and nobody asked for it"


def _asked(evidence: Evidence, operation: str, argument: str) -> set[str]:
    """What this operation was asked for, by the plan's names, where no clear no was the answer."""
    return {
        done.arguments[argument]
        for done in _operations(evidence, operation)
        if done.outcome is not Kind.FAIL or (done.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    }


def _deleted_servers(evidence: Evidence) -> set[str]:
    """The ids of the servers whose delete was asked for; a plan may name a server by its id."""
    asked = _asked(evidence, "server.delete", "server")
    ids = {ident for name, ident in _made(evidence).items() if name in asked}
    worlds: list[CloudWorld] = [seen.world for seen in evidence.observations]  # type: ignore[misc]
    return asked | ids | {i.uuid for world in worlds for i in world.instances if i.name in asked}


def _made(evidence: Evidence) -> dict[str, str]:
    """The plan's name and the id of each server whose creation was answered."""
    return {
        done.arguments["name"]: done.answer["id"]
        for done in _operations(evidence, "server.create")
        if done.outcome is Kind.OK
    }


def _last_seen_alive(evidence: Evidence) -> dict[str, CloudWorld]:
    """Each volume's id and the last world in which it was not being deleted."""
    worlds: list[CloudWorld] = [seen.world for seen in evidence.observations]  # type: ignore[misc]
    return {v.id: w for w in worlds for v in w.volumes if v.status != "deleting"}


@invariant("deletes-fulfilled", checked="settled", number=9)
def deletes_fulfilled(evidence: Evidence) -> Iterator[str]:
    """An accepted delete is fulfilled: the server is gone, with every record of it."""
    world: CloudWorld = evidence.world
    made = _made(evidence)
    for operation in _operations(evidence, "server.delete"):
        server = made.get(operation.arguments["server"])
        if operation.outcome is not Kind.OK or server is None:
            continue
        left = [
            *(f"instance in {i.cell}" for i in world.instances if i.uuid == server),
            *("build request" for r in world.build_requests if r.instance == server),
            *("instance mapping" for m in world.instance_mappings if m.instance == server),
            *(f"block device {d.id}" for d in world.block_devices if d.instance == server),
            *(f"attachment {a.id}" for a in world.attachments if a.instance == server),
            *(f"{a.resource} of {a.provider}" for a in world.allocations if a.consumer == server),
            *(f"guest on {g.host}" for g in world.guests if g.uuid == server),
        ]
        if left:
            yield (
                f"the delete of {operation.arguments.get('server')} ({server}) was accepted, "
                f"but there is still: {', '.join(left)}"
            )


@invariant("no-server-error", checked="always", number=10)
def no_server_error(evidence: Evidence) -> Iterator[str]:
    """No client gets a 5xx; a service that a plan cut off answers nothing, which is no 5xx."""
    for operation in evidence.history.operations:
        if (operation.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield (
                f"{operation.actor} got {operation.status} for {operation.operation}: "
                f"{operation.error}"
            )


def _operations(evidence: Evidence, name: str) -> list[Done]:
    return [done for done in evidence.history.operations if done.operation == name]
