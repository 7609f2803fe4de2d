"""What the compute service asks of the image service."""

from __future__ import annotations

from contextlib import suppress

from targets.reference.client import Conflict, NotFound, ServiceClient
from targets.reference.nova.instance import Instance

SNAPSHOT = "snapshot_image"
"""Where an instance's system metadata say which image is being made of it."""
SHELVED = "shelved_image_id"
"""… and which image has what its root disk held when it was shelved."""
RESIZE = "resize_image"
"""… and which image takes its root disk to another cell."""
_SERVICE = ServiceClient("image")


def create_snapshot(image: str, name: str, instance: Instance, temporary: bool = False) -> None:
    """Make the record of a snapshot, whose data is yet to come; one that is there is no error.

    It belongs to the instance's project, whoever makes it. A ``temporary`` one goes when its
    purpose is fulfilled.
    """
    body = {
        "id": image,
        "name": name,
        "visibility": "private",
        "image_type": "snapshot",
        "owner": instance.project_id,
        "instance_uuid": instance.uuid,
        "base_image_ref": instance.image,
    }
    if temporary:
        body["temporary"] = "True"
    with suppress(Conflict):
        _SERVICE.post("/v2/images", body)


def upload(image: str, data: bytes) -> None:
    """Store an image's data.

    Raises:
        NotFound: there is no such image (any more).
    """
    _SERVICE.upload(f"/v2/images/{image}/file", data)


def exists(image: str) -> bool:
    """Whether there is such an image."""
    try:
        _SERVICE.get(f"/v2/images/{image}")
    except NotFound:
        return False
    return True


def delete(image: str) -> None:
    """Delete an image; one that is gone is no error, nor is that there is none ("")."""
    if not image:
        return
    with suppress(NotFound):
        _SERVICE.delete(f"/v2/images/{image}")


def delete_unless_active(image: str) -> None:
    """Delete an image whose data never came."""
    with suppress(NotFound):
        if _SERVICE.get(f"/v2/images/{image}")["status"] != "active":
            delete(image)


def forget_of(instance: Instance) -> None:
    """Remove the images that were made, or being made, for an instance that does not need them."""
    unfinished, *temporary = map(instance.system_metadata.get, (SNAPSHOT, SHELVED, RESIZE))
    if unfinished:
        delete_unless_active(unfinished)
    for image in temporary:
        if image:
            delete(image)
