"""HTTP interface of the volume service, in Cinder's shapes."""

from __future__ import annotations

from typing import Any

from targets.reference import config, context
from targets.reference.client import NotFound, ServiceClient, Unreachable
from targets.reference.database import open_database
from targets.reference.policy import Policy, admin, member, owns, reader
from targets.reference.schema import read, read_body
from targets.reference.volume import schemas
from targets.reference.volume.store import DEFAULT_TYPE, METADATA, TYPES, Volumes
from targets.reference.volume.types import Types
from targets.reference.web import Api, Headers, HttpError, Reply, Request, not_found, serve

MAX_MICROVERSION = "3.71"
POLICY_REFUSAL = "Policy doesn't allow {} to be performed."
POLICY = Policy(
    POLICY_REFUSAL,
    {
        "volume:create": member,
        "volume:delete": member,
        "volume:get": reader,
        "volume:update": member,
        "volume:extend": member,
        "volume_extension:volume_admin_actions:reset_status": admin,
        "volume:attachment_create": member,
        "volume:attachment_delete": member,
        "volume:attachment_update": member,
        "volume_extension:type_get": reader,
        "volume_extension:type_create": admin,
        "volume_extension:type_delete": admin,
        "volume_extension:type_update": admin,
        "limits_extension:used_limits": reader,
        "volume:availability_zone_list": reader,
        "volume_extension:services:index": admin,
    },
)
_FILTERS = ("name", "status", "id", "availability_zone", "volume_type")
_IMAGES = ServiceClient("image")


def api(volumes: Volumes, types: Types) -> Api:
    """Return the routes."""
    api = Api(headers=_microversion)
    _discovery(api)
    _volumes(api, volumes, types)
    _actions(api, volumes)
    _attachments(api, volumes)
    _types(api, types)
    _rest(api, volumes)
    return api


def _microversion(headers: Headers) -> dict[str, str]:
    asked = headers.get("openstack-api-version", "volume 3.0")
    if asked.split() == ["volume", "latest"]:
        asked = f"volume {MAX_MICROVERSION}"
    return {"OpenStack-API-Version": asked, "Vary": "OpenStack-API-Version"}


def _discovery(api: Api) -> None:
    def versions(request: Request) -> dict[str, Any]:
        version = {
            "id": "v3.0",
            "status": "CURRENT",
            "version": MAX_MICROVERSION,
            "min_version": "3.0",
            "updated": "2023-08-31T00:00:00Z",
            "links": [{"rel": "self", "href": f"{request.base}/v3/"}],
            "media-types": [],
        }
        return {"versions": [version]}

    @api.route("GET", "/", public=True)
    def root(request: Request) -> Reply:
        return Reply(300, versions(request))

    @api.route("GET", "/v3", public=True)
    @api.route("GET", "/v3/", public=True)
    def version(request: Request) -> dict[str, Any]:
        return versions(request)

    @api.route("GET", "/v3/extensions")
    def extensions(_: Request) -> dict[str, Any]:
        return {"extensions": []}


def _volumes(api: Api, volumes: Volumes, types: Types) -> None:
    @api.route("GET", "/v3/volumes", allowed=POLICY.check("volume:get"))
    def list_short(request: Request) -> dict[str, Any]:
        shown, links = _page(request, _visible(request, volumes), "volumes")
        names = ("id", "name", "links")
        return {"volumes": [{name: found[name] for name in names} for found in shown], **links}

    @api.route("GET", "/v3/volumes/detail", allowed=POLICY.check("volume:get"))
    def list_detail(request: Request) -> dict[str, Any]:
        shown, links = _page(request, _visible(request, volumes), "volumes")
        return {"volumes": shown, **links}

    @api.route("POST", "/v3/volumes", allowed=POLICY.check("volume:create"))
    def create(request: Request) -> Reply:
        wanted = _hints_aside(request)
        new = read(schemas.NewVolume, wanted, "volume")
        for what, key in (("Snapshot", new.snapshot_id), ("Volume", new.source_volid)):
            if key:
                raise not_found(what, key, f"{what}NotFound")
        kind = types.named(new.volume_type)["name"] if new.volume_type else DEFAULT_TYPE
        image = new.imageRef or new.image_id
        if image:
            _see_that_there_is_an_image(image)
        made = volumes.create(
            new.name or new.display_name or "",
            new.size,
            description=new.description or new.display_description or "",
            multiattach=bool(new.multiattach),
            bootable=bool(image),
            meta=new.metadata or {},
            volume_type=kind,
            availability_zone=new.availability_zone or "nova",
        )
        return Reply(202, {"volume": made})

    @api.route("GET", "/v3/volumes/{volume}", allowed=POLICY.check("volume:get"))
    def show(request: Request) -> dict[str, Any]:
        return {"volume": volumes.get(request.path["volume"])}

    @api.route("PUT", "/v3/volumes/{volume}", allowed=POLICY.check("volume:update"))
    def update(request: Request) -> dict[str, Any]:
        wanted = read_body(schemas.VolumeChange, request, "volume")
        given = {
            "name": wanted.name if wanted.name is not None else wanted.display_name,
            "description": wanted.description
            if wanted.description is not None
            else wanted.display_description,
            "meta": wanted.metadata,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return {"volume": volumes.update(request.path["volume"], **changes)}

    @api.route("DELETE", "/v3/volumes/{volume}", allowed=POLICY.check("volume:delete"))
    def delete(request: Request) -> Reply:
        volumes.delete(request.path["volume"])
        return Reply(202)

    path = "/v3/volumes/{volume}/metadata"

    @api.route("GET", path, allowed=POLICY.check("volume:get"))
    def metadata(request: Request) -> dict[str, Any]:
        return {"metadata": volumes.get(request.path["volume"])["metadata"]}

    @api.route("POST", path, allowed=POLICY.check("volume:update"))
    def add_metadata(request: Request) -> dict[str, Any]:
        said = _said(request, "metadata")
        return {"metadata": volumes.change_metadata(request.path["volume"], said)}

    @api.route("PUT", path, allowed=POLICY.check("volume:update"))
    def replace_metadata(request: Request) -> dict[str, Any]:
        said = _said(request, "metadata")
        return {"metadata": volumes.change_metadata(request.path["volume"], said, replace=True)}

    @api.route("DELETE", path + "/{key}", allowed=POLICY.check("volume:update"))
    def delete_metadata(request: Request) -> Reply:
        volume, key = request.path["volume"], request.path["key"]
        if key not in volumes.get(volume)["metadata"]:
            raise HttpError(404, f"Volume {volume} has no metadata with key {key}.")
        volumes.change_metadata(volume, {key: None})
        return Reply(200)


def _actions(api: Api, volumes: Volumes) -> None:
    def extend(volume: str, given: Any) -> None:
        volumes.extend(volume, read(schemas.Extension, given, "os-extend").new_size)

    def set_bootable(volume: str, given: Any) -> None:
        wanted = read(schemas.Bootable, given, "os-set_bootable")
        volumes.update(volume, bootable=wanted.bootable)

    def reset_status(volume: str, given: Any) -> None:
        POLICY.check("volume_extension:volume_admin_actions:reset_status")()
        volumes.update(volume, status=read(schemas.Status, given, "os-reset_status").status)

    actions = {
        "os-extend": extend,
        "os-set_bootable": set_bootable,
        "os-reset_status": reset_status,
    }

    @api.route("POST", "/v3/volumes/{volume}/action", allowed=POLICY.check("volume:update"))
    def act(request: Request) -> Reply:
        volume, body = request.path["volume"], request.body
        if not isinstance(body, dict) or len(body) != 1 or not actions.keys() & body.keys():
            raise HttpError(400, "There is no such action.")
        volumes.get(volume)
        ((name, given),) = body.items()
        actions[name](volume, given)
        return Reply(200 if name == "os-set_bootable" else 202)


def _attachments(api: Api, volumes: Volumes) -> None:
    @api.route("GET", "/v3/attachments", allowed=POLICY.check("volume:get"))
    @api.route("GET", "/v3/attachments/detail", allowed=POLICY.check("volume:get"))
    def list_attachments(request: Request) -> dict[str, Any]:
        names = {"volume_id": "volume_id", "instance_id": "instance", "status": "status"}
        equal = {column: request.query[k] for k, column in names.items() if k in request.query}
        shown, links = _page(request, volumes.list_attachments(**equal), "attachments")
        return {"attachments": shown, **links}

    @api.route("POST", "/v3/attachments", allowed=POLICY.check("volume:attachment_create"))
    def attach(request: Request) -> dict[str, Any]:
        new = read_body(schemas.NewAttachment, request, "attachment")
        made = volumes.attach(new.volume_uuid, new.instance_uuid or "", new.connector or None)
        return {"attachment": made}

    @api.route("GET", "/v3/attachments/{attachment}", allowed=POLICY.check("volume:get"))
    def show_attachment(request: Request) -> dict[str, Any]:
        return {"attachment": volumes.get_attachment(request.path["attachment"])}

    @api.route(
        "PUT", "/v3/attachments/{attachment}", allowed=POLICY.check("volume:attachment_update")
    )
    def connect(request: Request) -> dict[str, Any]:
        wanted = read_body(schemas.AttachmentChange, request, "attachment")
        return {"attachment": volumes.connect(request.path["attachment"], wanted.connector)}

    @api.route(
        "POST",
        "/v3/attachments/{attachment}/action",
        allowed=POLICY.check("volume:attachment_update"),
    )
    def complete(request: Request) -> None:
        if not isinstance(request.body, dict) or "os-complete" not in request.body:
            raise HttpError(400, "The only action of an attachment is os-complete.")
        volumes.complete(request.path["attachment"])

    @api.route(
        "DELETE", "/v3/attachments/{attachment}", allowed=POLICY.check("volume:attachment_delete")
    )
    def detach(request: Request) -> dict[str, Any]:
        return {"attachments": volumes.detach(request.path["attachment"])}


def _types(api: Api, types: Types) -> None:
    @api.route("GET", "/v3/types", allowed=POLICY.check("volume_extension:type_get"))
    def list_types(request: Request) -> dict[str, Any]:
        everything = context.current().is_admin and request.query.get("is_public") == "None"
        found = types.find() if everything else types.find(TYPES.c.is_public)
        return {"volume_types": found}

    @api.route("GET", "/v3/types/{type}", allowed=POLICY.check("volume_extension:type_get"))
    def show_type(request: Request) -> dict[str, Any]:
        key = request.path["type"]
        return {"volume_type": types.named(DEFAULT_TYPE) if key == "default" else types.get(key)}

    @api.route("POST", "/v3/types", allowed=POLICY.check("volume_extension:type_create"))
    def create_type(request: Request) -> dict[str, Any]:
        new = read_body(schemas.NewType, request, "volume_type")
        made = types.create(new.name, new.description, new.is_public)
        if new.extra_specs:
            types.change_extra_specs(made["id"], dict(new.extra_specs))
        return {"volume_type": types.get(made["id"])}

    @api.route("PUT", "/v3/types/{type}", allowed=POLICY.check("volume_extension:type_update"))
    def update_type(request: Request) -> dict[str, Any]:
        wanted = read_body(schemas.TypeChange, request, "volume_type")
        changes = wanted.model_dump(exclude_none=True)
        return {"volume_type": types.update(request.path["type"], **changes)}

    @api.route("DELETE", "/v3/types/{type}", allowed=POLICY.check("volume_extension:type_delete"))
    def delete_type(request: Request) -> Reply:
        types.delete(request.path["type"])
        return Reply(202)

    path = "/v3/types/{type}/extra_specs"

    @api.route("GET", path, allowed=POLICY.check("volume_extension:type_get"))
    def specs(request: Request) -> dict[str, Any]:
        return {"extra_specs": types.get(request.path["type"])["extra_specs"]}

    @api.route("POST", path, allowed=POLICY.check("volume_extension:type_update"))
    def add_specs(request: Request) -> dict[str, Any]:
        said = _said(request, "extra_specs")
        types.change_extra_specs(request.path["type"], said)
        return {"extra_specs": said}

    @api.route("DELETE", path + "/{key}", allowed=POLICY.check("volume_extension:type_update"))
    def delete_spec(request: Request) -> Reply:
        key = request.path["key"]
        if key not in types.get(request.path["type"])["extra_specs"]:
            raise HttpError(404, f"Volume type has no extra specs with key {key}.")
        types.change_extra_specs(request.path["type"], {key: None})
        return Reply(202)


def _rest(api: Api, volumes: Volumes) -> None:
    @api.route("GET", "/v3/limits", allowed=POLICY.check("limits_extension:used_limits"))
    def limits(_: Request) -> dict[str, Any]:
        his = volumes.find(project_id=context.current().project_id)
        absolute = {
            "maxTotalVolumes": -1,
            "maxTotalVolumeGigabytes": -1,
            "maxTotalSnapshots": -1,
            "maxTotalBackups": -1,
            "maxTotalBackupGigabytes": -1,
            "totalVolumesUsed": len(his),
            "totalGigabytesUsed": sum(volume["size"] for volume in his),
            "totalSnapshotsUsed": 0,
            "totalBackupsUsed": 0,
            "totalBackupGigabytesUsed": 0,
        }
        return {"limits": {"rate": [], "absolute": absolute}}

    @api.route(
        "GET", "/v3/os-availability-zone", allowed=POLICY.check("volume:availability_zone_list")
    )
    def zones(_: Request) -> dict[str, Any]:
        zone = {"zoneName": "nova", "zoneState": {"available": True}}
        return {"availabilityZoneInfo": [zone]}

    @api.route(
        "GET", "/v3/os-quota-sets/{project}", allowed=POLICY.check("limits_extension:used_limits")
    )
    def quota(request: Request) -> dict[str, Any]:
        project, his = request.path["project"], volumes.find(project_id=request.path["project"])
        if not owns(project):
            raise HttpError(403, POLICY_REFUSAL.format("volume_extension:quotas:show"))
        used = {"volumes": len(his), "gigabytes": sum(volume["size"] for volume in his)}
        names = ("volumes", "gigabytes", "snapshots", "backups", "backup_gigabytes", "groups")
        if request.query.get("usage", "").lower() != "true":
            return {"quota_set": {"id": project, **dict.fromkeys(names, -1)}}
        usage = {name: {"limit": -1, "in_use": used.get(name, 0), "reserved": 0} for name in names}
        return {"quota_set": {"id": project, **usage}}

    for name in ("snapshots", "backups"):
        _nothing(api, name)


def _nothing(api: Api, name: str) -> None:
    """Serve a resource of which there is never any."""

    @api.route("GET", f"/v3/{name}", allowed=POLICY.check("volume:get"))
    @api.route("GET", f"/v3/{name}/detail", allowed=POLICY.check("volume:get"))
    def list_all(_: Request) -> dict[str, Any]:
        return {name: []}


def _hints_aside(request: Request) -> Any:
    """Return the volume of the body; beside it only hints for a scheduler may stand."""
    body = request.body
    hints = {"OS-SCH-HNT:scheduler_hints"}
    if not isinstance(body, dict) or "volume" not in body or set(body) - hints != {"volume"}:
        raise HttpError(
            400, "Invalid input for field/attribute volume. 'volume' is a required property"
        )
    return body["volume"]


def _see_that_there_is_an_image(image: str) -> None:
    try:
        _IMAGES.get(f"/v2/images/{image}")
    except NotFound:
        raise HttpError(400, f"Invalid image identifier or unable to access {image}.") from None
    except Unreachable as error:
        raise HttpError(503, str(error)) from None


def _said(request: Request, name: str) -> dict[str, str | None]:
    body = request.body
    if not isinstance(body, dict) or set(body) != {name}:
        raise HttpError(400, f"The body must hold '{name}' and nothing else.")
    return dict(read(schemas.Specs, {"said": body[name]}, name).said)


def _visible(request: Request, volumes: Volumes) -> list[dict[str, Any]]:
    query, caller = request.query, context.current()
    equal: dict[str, object] = {name: query[name] for name in _FILTERS if name in query}
    everybodys = query.get("all_tenants", query.get("all_projects", "0")).lower() in ("1", "true")
    if not (caller.is_admin and everybodys):
        equal["project_id"] = caller.project_id
    found = volumes.find(**equal)
    if "bootable" in query:
        found = [volume for volume in found if volume["bootable"] == query["bootable"].lower()]
    return found[::-1]


def _page(
    request: Request, found: list[dict[str, Any]], name: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    start, query = 0, request.query
    numbers = {}
    for parameter in ("limit", "offset"):
        given = query.get(parameter, "0" if parameter == "offset" else "1000")
        if not (given.isdecimal() and given.isascii() and len(given) < 10):
            raise HttpError(400, f"{parameter} param must be an integer: {given[:255]}")
        numbers[parameter] = int(given)
    if "marker" in query:
        ids = [record["id"] for record in found]
        if query["marker"] not in ids:
            raise HttpError(404, f"Marker {query['marker'][:255]} could not be found.")
        start = ids.index(query["marker"]) + 1
    start, most = start + numbers["offset"], min(numbers["limit"], 1000)
    shown = found[start : start + most]
    if "limit" not in query or not shown or len(found) <= start + most:
        return shown, {}
    following = f"{request.base}/v3/{name}?limit={most}&marker={shown[-1]['id']}"
    return shown, {f"{name}_links": [{"rel": "next", "href": following}]}


def main() -> None:
    """Run the service."""
    context.log_to_stderr()
    database = open_database("volume", METADATA)
    volumes, types = Volumes(database), Types(database)
    types.add_default()
    volumes.finish_deletions()
    serve(api(volumes, types), config.current())
