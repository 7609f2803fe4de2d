"""Make an image of a server."""

from __future__ import annotations

import uuid

from targets.reference.client import ServiceError, Unreachable
from targets.reference.nova import images
from targets.reference.nova.api import microversion
from targets.reference.nova.api.router import url
from targets.reference.nova.api.servers.actions import action, begin, in_state, resumes
from targets.reference.nova.instance import Instance
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.schema import Schema
from targets.reference.web import HttpError, Reply, Request

_IMAGE_ID_SINCE = 45


class CreateImageSchema(Schema):
    """What the image shall be called, and what it is to say of itself."""

    name: str
    metadata: dict[str, str] = {}


@action("createImage", CreateImageSchema)
def create_image(request: Request, server: str, asked: CreateImageSchema) -> Reply:
    """Have an image made of a server's root disk.

    Which one is written down before there is one: whatever dies then, the image does not stay as
    one whose data never comes.
    """
    instance = in_state(server, {Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED}, "createImage")
    image = str(uuid.uuid4())
    begun = begin(
        instance,
        "createImage",
        Task.IMAGE_SNAPSHOT_PENDING,
        {None},
        system_metadata=instance.remembering(snapshot_image=image),
    )
    try:
        images.create_snapshot(image, asked.name, instance)
    except (ServiceError, Unreachable) as error:
        raise HttpError(503, f"The image service gave no image: {error}") from None
    finally:
        # Also after a failure: the compute finds no such image, and says that it is over.
        ComputeRpc.snapshot(begun)
    if microversion.of(request) >= _IMAGE_ID_SINCE:
        return Reply(202, {"image_id": image})
    return Reply(202, None, {"Location": url(request, "images", image)})


@resumes(Task.IMAGE_SNAPSHOT_PENDING)
def resume_create_image(instance: Instance) -> None:
    """Ask for the snapshot again."""
    ComputeRpc.snapshot(instance)
