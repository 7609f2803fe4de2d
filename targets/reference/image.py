"""Image service (Glance v2): records of images; their data is of no interest to a control plane."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from targets.reference import config, context
from targets.reference.database import Database, open_database, utc_now
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
    sa.Column("size", sa.Integer),
    sa.Column("min_disk", sa.Integer, nullable=False),
    sa.Column("min_ram", sa.Integer, nullable=False),
    sa.Column("disk_format", sa.String(16), nullable=False),
    sa.Column("container_format", sa.String(16), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
CIRROS_ID = "70f9a2b8-9f05-4c1e-b1c8-3f6c5f6f2c01"
"""The image that is there from the start, ``cirros``."""


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
                cirros = _record(CIRROS_ID, "cirros", "active", "public")
                connection.execute(IMAGES.insert(), cirros)

    def find(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return all images, or those called ``name``."""
        query = sa.select(IMAGES).order_by(IMAGES.c.created_at, IMAGES.c.id)
        if name is not None:
            query = query.filter_by(name=name)
        with self._db.read() as connection:
            return [_view(row) for row in connection.execute(query)]

    def get(self, image_id: str) -> dict[str, Any]:
        """Return one image.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            row = connection.execute(sa.select(IMAGES).filter_by(id=image_id)).first()
        if row is None:
            raise not_found("Image", image_id)
        return _view(row)

    def create(self, name: str, image_id: str, visibility: str) -> dict[str, Any]:
        """Make an image record, whose data is there at once.

        Raises:
            HttpError: 409, the id is taken.
        """
        record = _record(image_id, name, "active", visibility)
        try:
            with self._db.transaction() as connection:
                connection.execute(IMAGES.insert(), record)
        except sa.exc.IntegrityError:
            raise HttpError(409, f"Image ID {image_id} already exists!") from None
        return self.get(image_id)

    def delete(self, image_id: str) -> None:
        """Remove an image.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            if not connection.execute(IMAGES.delete().filter_by(id=image_id)).rowcount:
                raise not_found("Image", image_id)


def _record(image_id: str, name: str, status: str, visibility: str) -> dict[str, Any]:
    now = utc_now()
    return {
        "id": image_id,
        "name": name,
        "status": status,
        "visibility": visibility,
        "owner": None,
        "size": 16_338_944,
        "min_disk": 0,
        "min_ram": 0,
        "disk_format": "qcow2",
        "container_format": "bare",
        "created_at": now,
        "updated_at": now,
    }


def _view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        **row._mapping,
        "tags": [],
        "protected": False,
        "os_hidden": False,
        "virtual_size": None,
        "checksum": None,
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
        return {"images": images.find(request.query.get("name")), "first": "/v2/images"}

    @api.route("POST", "/v2/images")
    def create(request: Request) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        image_id = body.get("id") or str(uuid.uuid4())
        image = images.create(body.get("name", ""), image_id, body.get("visibility", "shared"))
        return Reply(201, image)

    @api.route("GET", "/v2/images/{image_id}")
    def show(request: Request) -> dict[str, Any]:
        return images.get(request.path["image_id"])

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
