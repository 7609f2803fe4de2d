"""Image service (Glance v2): images, which are *queued* until their data has come, then *active*.

An image may have properties of any name (``image_type``, ``instance_uuid``) beside its fields.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from targets.reference import config, context
from targets.reference.database import Database, open_database, utc_now
from targets.reference.policy import owns
from targets.reference.schema import Schema, Text255, Uuid, read
from targets.reference.tokens import SERVICE_PROJECT_ID
from targets.reference.web import Api, HttpError, Reply, Request, not_found, serve

METADATA = sa.MetaData()
IMAGES = sa.Table(
    "images",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("size", sa.BigInteger),
    sa.Column("min_disk", sa.Integer, nullable=False),
    sa.Column("min_ram", sa.Integer, nullable=False),
    sa.Column("disk_format", sa.String(16), nullable=False),
    sa.Column("container_format", sa.String(16), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
    sa.Column("checksum", sa.String(32)),
    sa.Column("properties", sa.JSON, nullable=False),
)
DATA = sa.Table(
    "image_data",
    METADATA,
    sa.Column("image", sa.ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
_FIELDS = {column.name for column in IMAGES.columns} - {"properties"}
CIRROS_ID = "70f9a2b8-9f05-4c1e-b1c8-3f6c5f6f2c01"
"""The image that is there from the start, ``cirros``."""


class NewImage(Schema, extra="allow"):
    """An image as it is made: what has no field of its own is a property."""

    __pydantic_extra__: dict[str, Annotated[str, Field(max_length=65535)] | int | bool | None]

    id: Uuid | None = None
    name: Text255 | None = None
    visibility: Literal["public", "private", "shared", "community"] = "shared"


def error_body(error: HttpError) -> dict[str, Any]:
    """Put an error into Glance's shape."""
    return {"code": error.status, "title": error.code, "message": error.message}


class Images:
    """The records."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_cirros(self) -> None:
        """Make the built-in image, unless it is there."""
        with self._db.transaction() as connection:
            if not connection.execute(sa.select(IMAGES).filter_by(id=CIRROS_ID)).first():
                cirros = _record(CIRROS_ID, "cirros", "public", {}, SERVICE_PROJECT_ID)
                size = {"status": "active", "size": 16_338_944}
                connection.execute(IMAGES.insert(), cirros | size)

    def find(self, **equal: str) -> list[dict[str, Any]]:
        """Return the images whose fields and properties have these values."""
        query = sa.select(IMAGES).order_by(IMAGES.c.created_at, IMAGES.c.id)
        with self._db.read() as connection:
            found = [_view(row) for row in connection.execute(query) if _may_be_seen(row)]
        return [image for image in found if all(image.get(k) == v for k, v in equal.items())]

    def get(self, image_id: str) -> dict[str, Any]:
        """Return one image.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            row = connection.execute(sa.select(IMAGES).filter_by(id=image_id)).first()
        if row is None or not _may_be_seen(row):
            raise not_found("Image", image_id)
        return _view(row)

    def create(
        self, name: str, image_id: str, visibility: str, properties: dict[str, Any], owner: str
    ) -> dict[str, Any]:
        """Make an image record, whose data is yet to come; ``owner`` is a project.

        Raises:
            HttpError: 409, the id is taken.
        """
        try:
            with self._db.transaction() as connection:
                record = _record(image_id, name, visibility, properties, owner)
                connection.execute(IMAGES.insert(), record)
        except sa.exc.IntegrityError:
            raise HttpError(409, f"Image ID {image_id} already exists!") from None
        return self.get(image_id)

    def upload(self, image_id: str, data: bytes) -> None:
        """Store an image's data: it is active from now on. The same data may come twice.

        Raises:
            HttpError: 404; 409, it has other data already.
        """
        checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
        came = {"status": "active", "size": len(data), "checksum": checksum}
        with self._db.transaction() as connection:
            change = IMAGES.update().filter_by(id=image_id, status="queued").values(**came)
            if connection.execute(change).rowcount:
                connection.execute(DATA.insert(), {"image": image_id, "data": data})
                return
        if self.get(image_id)["checksum"] != checksum:
            raise HttpError(409, f"Image {image_id} has its data already.")

    def data(self, image_id: str) -> bytes:
        """Return an image's data, empty when it has none.

        Raises:
            HttpError: 404.
        """
        self.get(image_id)
        with self._db.read() as connection:
            found = connection.scalar(sa.select(DATA.c.data).filter_by(image=image_id))
        return found or b""

    def delete(self, image_id: str) -> None:
        """Remove an image.

        Raises:
            HttpError: 404; 403, it is somebody else's.
        """
        if not owns(self.get(image_id)["owner"]):
            raise HttpError(403, f"You are not authorized to delete image {image_id}.")
        with self._db.transaction() as connection:
            if not connection.execute(IMAGES.delete().filter_by(id=image_id)).rowcount:
                raise not_found("Image", image_id)


def _may_be_seen(row: sa.Row[Any]) -> bool:
    return row.visibility in ("public", "community") or owns(row.owner)


def _record(
    image_id: str, name: str, visibility: str, properties: dict[str, Any], owner: str
) -> dict[str, Any]:
    now = utc_now()
    return {
        "id": image_id,
        "name": name,
        "status": "queued",
        "visibility": visibility,
        "owner": owner,
        "min_disk": 0,
        "min_ram": 0,
        "disk_format": "qcow2",
        "container_format": "bare",
        "created_at": now,
        "updated_at": now,
        "properties": properties,
    }


def _view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        **row.properties,
        **{name: row._mapping[name] for name in _FIELDS},
        "tags": [],
        "protected": False,
        "os_hidden": False,
        "virtual_size": None,
        "self": f"/v2/images/{row.id}",
        "file": f"/v2/images/{row.id}/file",
        "schema": "/v2/schemas/image",
    }


def api(images: Images) -> Api:
    """Return the routes."""
    api = Api(error_body)

    @api.route("GET", "/", public=True)
    def versions(request: Request) -> Reply:
        links = [{"rel": "self", "href": f"{request.base}/v2/"}]
        return Reply(300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": links}]})

    @api.route("GET", "/v2/images")
    def list_images(request: Request) -> dict[str, Any]:
        paging = {"limit", "marker", "sort", "sort_key", "sort_dir"}
        equal = {key: value for key, value in request.query.items() if key not in paging}
        return {"images": images.find(**equal), "first": "/v2/images"}

    @api.route("POST", "/v2/images")
    def create(request: Request) -> Reply:
        wanted = read(NewImage, request.body, "image")
        extra = wanted.model_extra or {}
        others = {key: value for key, value in extra.items() if key not in _FIELDS}
        image_id = wanted.id or str(uuid.uuid4())
        if wanted.visibility == "public" and not context.current().is_admin:
            raise HttpError(403, "You are not authorized to complete publicize_image action.")
        caller = context.current()
        # Only an administrator makes images for others.
        owner = str(extra.get("owner") or "") if caller.is_admin else ""
        image = images.create(
            wanted.name or "", image_id, wanted.visibility, others, owner or caller.project_id
        )
        return Reply(201, image)

    @api.route("GET", "/v2/images/{image_id}")
    def show(request: Request) -> dict[str, Any]:
        return images.get(request.path["image_id"])

    @api.route("PUT", "/v2/images/{image_id}/file")
    def upload(request: Request) -> None:
        if not isinstance(request.body, bytes):
            raise HttpError(415, "The data of an image is application/octet-stream.")
        images.upload(request.path["image_id"], request.body)

    @api.route("GET", "/v2/images/{image_id}/file")
    def download(request: Request) -> Reply:
        return Reply(200, images.data(request.path["image_id"]))

    @api.route("DELETE", "/v2/images/{image_id}")
    def delete(request: Request) -> None:
        images.delete(request.path["image_id"])

    return api


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    images = Images(open_database("image", METADATA))
    images.add_cirros()
    serve(api(images), config.current())
