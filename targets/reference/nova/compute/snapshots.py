"""Make images of what guests' root disks hold.

The API has chosen the image's id and written it into the instance's system metadata before there is
such an image: whoever finds a snapshot that was cut off knows which image is not to stay.
"""

from __future__ import annotations

import logging

from targets.reference.client import NotFound
from targets.reference.nova import images
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.states import Task

LOG = logging.getLogger(__name__)


class Photographer:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def snapshot(self, instance: str) -> None:
        """Give the image of an instance that waits for it its data."""
        with self._host.working_on(instance, "createImage"):
            snapshot(self._host, self._host.get(instance))


def snapshot(host: Host, instance: Instance) -> None:
    """Upload a guest's root disk; when somebody else has taken over, leave no image."""
    image = instance.system_metadata.get(images.SNAPSHOT, "")
    try:
        instance = instance.save(
            task_state=Task.IMAGE_SNAPSHOT, expected_task_state={Task.IMAGE_SNAPSHOT_PENDING}
        )
        content = host.driver.snapshot(instance.uuid)
        for task, before in (
            (Task.IMAGE_PENDING_UPLOAD, Task.IMAGE_SNAPSHOT),
            (Task.IMAGE_UPLOADING, Task.IMAGE_PENDING_UPLOAD),
        ):
            instance = instance.save(task_state=task, expected_task_state={before})
        images.upload(image, content)
        instance.save(
            task_state=None,
            system_metadata=instance.remembering(**{images.SNAPSHOT: None}),
            expected_task_state={Task.IMAGE_UPLOADING},
        )
    except NotFound as error:
        LOG.warning("no snapshot of %s: %s", instance.uuid, error)
        discard(host.get(instance.uuid))
    except (InstanceNotFound, UnexpectedTaskState):
        images.forget_of(instance)
        raise


def discard(instance: Instance) -> None:
    """Forget a snapshot that was cut off, and the image that was to come of it."""
    images.forget_of(instance)
    instance.save(
        task_state=None,
        system_metadata=instance.remembering(**{images.SNAPSHOT: None}),
        expected_task_state={instance.task_state},
    )
