"""What a user does with images."""

from __future__ import annotations

from typing import Any

from chaos.operation import Scope
from targets.cloud.catalogue import Image, operation
from targets.cloud.records import (
    delete,
    expect,
    find,
    image_record,
    present,
    until,
)


@operation("image.wait", asserts=True)
def wait_image(scope: Scope, image: Image, status: str = "active") -> dict[str, Any]:
    """Wait until an image has this status."""
    found = until(
        scope,
        f"image {image} to become {status}",
        lambda: present(image_record(scope, image), f"image {image}"),
        lambda i: i["status"] == status,
        lambda i: str(i["status"]),
    )
    return {"status": found["status"]}


@operation("image.expect", asserts=True)
def expect_image(
    scope: Scope, image: Image, status: str | None = None, exists: bool | None = None
) -> dict[str, Any]:
    """Assert an image's status, or whether it exists."""
    found = image_record(scope, image)
    if exists is not None:
        expect(f"image {image}", exists=(exists, found is not None))
    if status is not None:
        expect(f"image {image}", status=(status, found["status"] if found else "gone"))
    return {"exists": found is not None, "status": found["status"] if found else None}


@operation("image.delete")
def delete_image(scope: Scope, image: Image) -> dict[str, Any]:
    """Delete an image; that it is gone already (404) is as good as 204."""
    key = find(scope, scope.client.image, "images", image)
    return {"status": delete(scope.client.image, "images", key), "image": key}
