"""Make a server anew, from another image or the same, where it is."""

from __future__ import annotations

from typing import Any

from targets.reference.client import Unreachable
from targets.reference.nova import images
from targets.reference.nova.api.servers import views
from targets.reference.nova.api.servers.actions import action, begin, in_state, resumes
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.schema import Schema
from targets.reference.web import HttpError, Reply, Request


class RebuildSchema(Schema):
    """The image, and what else changes."""

    imageRef: str
    name: str | None = None
    metadata: dict[str, str] | None = None
    adminPass: str | None = None
    description: str | None = None
    preserve_ephemeral: bool | None = None


@action("rebuild", RebuildSchema)
def rebuild(request: Request, server: str, asked: RebuildSchema) -> Reply:
    """Have a server's guest made anew from an image."""
    instance = in_state(server, {Vm.ACTIVE, Vm.STOPPED, Vm.ERROR}, "rebuild")
    image = asked.imageRef.rstrip("/").rpartition("/")[2]
    try:
        if not images.exists(image):
            raise HttpError(400, f"Image {image} could not be found.")
    except Unreachable as error:
        raise HttpError(503, str(error)) from None
    changes: dict[str, Any] = {"image": image}
    if asked.name is not None:
        changes["name"] = asked.name
    if asked.metadata is not None:
        changes["meta"] = asked.metadata
    begun = begin(instance, "rebuild", Task.REBUILDING, {None}, **changes)
    ComputeRpc.rebuild(begun)
    return Reply(202, {"server": views.server(begun, request)})


@resumes(Task.REBUILDING)
def resume_rebuild(instance: Instance) -> None:
    """Ask for it again; an evacuation is said by its migration."""
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration:
        ConductorRpc.evacuate_server(instance.cell, migration.uuid)
    else:
        ComputeRpc.rebuild(instance)
