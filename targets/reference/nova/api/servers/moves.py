"""Resize and migrate a server, and decide whether it stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from targets.reference.nova import flavors, moves
from targets.reference.nova.api.servers.actions import action, cannot, in_state, resumes
from targets.reference.nova.attributes import of_flavor
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.migration import (
    Migration,
    MoveConflict,
    MoveStatus,
    MoveType,
    flavor_of,
)
from targets.reference.nova.rpc import ConductorRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.schema import Schema
from targets.reference.web import HttpError, Reply, Request, not_found

MOVABLE = frozenset({Vm.ACTIVE, Vm.STOPPED})


class ResizeSchema(Schema):
    """The flavor that is wanted."""

    flavorRef: str


@action("resize", ResizeSchema)
def resize(_: Request, server: str, asked: ResizeSchema) -> None:
    """Have a server moved to another flavor, and to another host if there is one."""
    instance = in_state(server, MOVABLE, "resize")
    wanted = flavors.find(asked.flavorRef)
    if wanted is None:
        raise HttpError(400, "Unable to locate requested flavor.")
    new = {
        "flavor": wanted.name,
        "vcpus": wanted.vcpus,
        "ram": wanted.ram,
        "disk": wanted.disk,
        "described": of_flavor(wanted),
    }
    if new["flavor"] == instance.flavor:
        raise HttpError(400, "When resizing, instances must change flavor!")
    if wanted.disk < instance.disk:
        raise HttpError(400, "Resize to a smaller disk is not possible.")
    with refused("resize", instance):
        moves.begin(instance, MoveType.RESIZE, new)


@action("migrate")
def migrate(request: Request, server: str, _: None) -> None:
    """Have a server moved to another host."""
    given = request.body["migrate"]
    host = given.get("host") if isinstance(given, dict) else None
    instance = in_state(server, MOVABLE, "migrate")
    if host == instance.host:
        raise HttpError(400, "The target host can't be the same one.")
    with refused("migrate", instance):
        moves.begin(instance, MoveType.MIGRATION, flavor_of(instance), host)


@resumes(Task.RESIZE_PREP)
def resume_resize(instance: Instance) -> None:
    """Ask for a host again."""
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration:
        ConductorRpc.migrate_server(instance.cell, migration.uuid)


@action("confirmResize")
def confirm_resize(_: Request, server: str, asked: None) -> Reply:
    """Have a resized server stay where and what it is."""
    instance, migration = _resized(server, "confirmResize")
    with refused("confirmResize", instance):
        moves.confirm(instance, migration)
    return Reply(204)


@resumes(Task.RESIZE_CONFIRMING)
def resume_confirm_resize(instance: Instance) -> None:
    """Ask for the confirmation again."""
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration:
        moves.send_confirm(migration)


@action("revertResize")
def revert_resize(_: Request, server: str, asked: None) -> None:
    """Have a resized server go back to where and what it was."""
    instance, migration = _resized(server, "revertResize")
    with refused("revertResize", instance):
        moves.revert(instance, migration)


@resumes(Task.RESIZE_REVERTING)
def resume_revert_resize(instance: Instance) -> None:
    """Ask for the revert again."""
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration:
        moves.send_revert(migration)


def _resized(server: str, name: str) -> tuple[Instance, Migration]:
    instance = in_state(server, {Vm.RESIZED}, name)
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration is None or migration.status != MoveStatus.FINISHED:
        raise cannot(name, instance)
    return instance, migration


@contextmanager
def refused(name: str, instance: Instance) -> Iterator[None]:
    """Tell the client when something else is being done with the server, or it is gone.

    Raises:
        HttpError: 404; 409.
    """
    try:
        yield
    except InstanceNotFound:
        raise not_found("Instance", instance.uuid) from None
    except (UnexpectedTaskState, MoveConflict) as error:
        raise HttpError(409, f"Cannot '{name}' instance {instance.uuid}: {error}") from None
