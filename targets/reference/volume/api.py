"""HTTP interface of the volume service, in Cinder's shapes."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers

from targets.reference import config, context
from targets.reference.database import open_database
from targets.reference.volume.store import METADATA, TYPE_ID, Volumes
from targets.reference.web import Api, HttpError, Reply, Request, serve

MAX_MICROVERSION = "3.71"
_FILTERS = ("name", "status", "id")


def _versions(request: Request) -> dict[str, Any]:
    return {
        "versions": [
            {
                "id": "v3.0",
                "status": "CURRENT",
                "version": MAX_MICROVERSION,
                "min_version": "3.0",
                "updated": "2023-08-31T00:00:00Z",
                "links": [{"rel": "self", "href": f"{request.base}/v3/"}],
                "media-types": [],
            }
        ]
    }


def _microversion(headers: Headers) -> dict[str, str]:
    asked = headers.get("openstack-api-version", "volume 3.0")
    return {"OpenStack-API-Version": asked, "Vary": "OpenStack-API-Version"}


def _new_volume(body: dict[str, Any]) -> dict[str, Any]:
    size = body.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise HttpError(400, f"Invalid input for field/attribute size. Value: {size}.")
    return {
        "name": body.get("name") or "",
        "description": body.get("description") or "",
        "size": size,
        "multiattach": bool(body.get("multiattach")),
    }


def api(volumes: Volumes) -> Api:
    """Return the routes."""
    api = Api(headers=_microversion)

    @api.route("GET", "/", public=True)
    def root(request: Request) -> Reply:
        return Reply(300, _versions(request))

    @api.route("GET", "/v3", public=True)
    @api.route("GET", "/v3/", public=True)
    def version(request: Request) -> dict[str, Any]:
        return _versions(request)

    @api.route("GET", "/v3/volumes")
    @api.route("GET", "/v3/volumes/detail")
    def list_volumes(request: Request) -> dict[str, Any]:
        query = request.query
        return {"volumes": volumes.find(**{k: query[k] for k in _FILTERS if k in query})}

    @api.route("POST", "/v3/volumes")
    def create(request: Request) -> Reply:
        return Reply(202, {"volume": volumes.create(**_new_volume(request.body_of("volume")))})

    @api.route("GET", "/v3/volumes/{volume_id}")
    def show(request: Request) -> dict[str, Any]:
        return {"volume": volumes.get(request.path["volume_id"])}

    @api.route("DELETE", "/v3/volumes/{volume_id}")
    def delete(request: Request) -> Reply:
        volumes.delete(request.path["volume_id"])
        return Reply(202)

    @api.route("GET", "/v3/attachments")
    @api.route("GET", "/v3/attachments/detail")
    def list_attachments(request: Request) -> dict[str, Any]:
        names = {"volume_id": "volume_id", "instance_id": "instance"}
        equal = {column: request.query[k] for k, column in names.items() if k in request.query}
        return {"attachments": volumes.list_attachments(**equal)}

    @api.route("POST", "/v3/attachments")
    def attach(request: Request) -> dict[str, Any]:
        body = request.body_of("attachment")
        volume_id, instance = body.get("volume_uuid"), body.get("instance_uuid")
        if not isinstance(volume_id, str) or not isinstance(instance, str):
            raise HttpError(400, "An attachment needs a volume_uuid and an instance_uuid.")
        return {"attachment": volumes.attach(volume_id, instance, body.get("connector"))}

    @api.route("GET", "/v3/attachments/{attachment_id}")
    def show_attachment(request: Request) -> dict[str, Any]:
        return {"attachment": volumes.get_attachment(request.path["attachment_id"])}

    @api.route("PUT", "/v3/attachments/{attachment_id}")
    def connect(request: Request) -> dict[str, Any]:
        connector = request.body_of("attachment").get("connector")
        if not isinstance(connector, dict):
            raise HttpError(400, "The attachment needs a connector.")
        return {"attachment": volumes.connect(request.path["attachment_id"], connector)}

    @api.route("POST", "/v3/attachments/{attachment_id}/action")
    def complete(request: Request) -> None:
        if not isinstance(request.body, dict) or "os-complete" not in request.body:
            raise HttpError(400, "The only action of an attachment is os-complete.")
        volumes.complete(request.path["attachment_id"])

    @api.route("DELETE", "/v3/attachments/{attachment_id}")
    def detach(request: Request) -> dict[str, Any]:
        return {"attachments": volumes.detach(request.path["attachment_id"])}

    @api.route("GET", "/v3/types")
    def types(_: Request) -> dict[str, Any]:
        return {"volume_types": [{"id": TYPE_ID, "name": "lvm", "is_public": True}]}

    @api.route("GET", "/v3/limits")
    def limits(_: Request) -> dict[str, Any]:
        absolute = {"maxTotalVolumes": -1, "maxTotalVolumeGigabytes": -1, "maxTotalSnapshots": -1}
        return {"limits": {"rate": [], "absolute": absolute}}

    return api


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    volumes = Volumes(open_database("volume", METADATA))
    volumes.finish_deletions()
    serve(api(volumes), config.current())
