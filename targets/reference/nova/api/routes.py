"""The routes of the compute service (Nova v2.1), and how its errors look."""

from __future__ import annotations

from typing import Any

from targets.reference.client import Unreachable
from targets.reference.nova import deletion, flavors
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.api import attachments, servers, views
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import InstanceNotFound
from targets.reference.web import Api, HttpError, Reply, Request, not_found

MIN_MICROVERSION, MAX_MICROVERSION = "2.1", "2.96"


def api() -> Api:
    """Return the routes."""
    api = Api(headers=_microversion)
    _versions(api)
    _servers(api)
    _attachments(api)
    _rest(api)
    return api


def _microversion(request: Request) -> dict[str, str]:
    asked = request.headers.get("openstack-api-version", "").removeprefix("compute ").strip()
    asked = asked or request.headers.get("x-openstack-nova-api-version", "") or MIN_MICROVERSION
    version = MAX_MICROVERSION if asked == "latest" else asked
    return {
        "OpenStack-API-Version": f"compute {version}",
        "X-OpenStack-Nova-API-Version": version,
        "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }


def _base(request: Request) -> str:
    return f"{request.base}/v2.1"


def _versions(api: Api) -> None:
    def version(request: Request) -> dict[str, Any]:
        return {
            "id": "v2.1",
            "status": "CURRENT",
            "version": MAX_MICROVERSION,
            "min_version": MIN_MICROVERSION,
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{request.base}/v2.1/"}],
        }

    @api.route("GET", "/", public=True)
    def all_versions(request: Request) -> dict[str, Any]:
        return {"versions": [version(request)]}

    @api.route("GET", "/v2.1", public=True)
    @api.route("GET", "/v2.1/", public=True)
    def one_version(request: Request) -> dict[str, Any]:
        return {"version": version(request)}


def _servers(api: Api) -> None:
    @api.route("GET", "/v2.1/servers")
    def list_short(request: Request) -> dict[str, Any]:
        found = [views.server_link(_id(r), r.name, _base(request)) for r in _matching(request)]
        return {"servers": found}

    @api.route("GET", "/v2.1/servers/detail")
    def list_detail(request: Request) -> dict[str, Any]:
        return {"servers": [views.server(record, _base(request)) for record in _matching(request)]}

    @api.route("POST", "/v2.1/servers")
    def create(request: Request) -> Reply:
        uuid = servers.create(request.body_of("server"))
        link = f"{_base(request)}/servers/{uuid}"
        made = {
            "id": uuid,
            "links": [{"rel": "self", "href": link}],
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [],
            "adminPass": "not-used-here",
        }
        return Reply(202, {"server": made}, {"Location": link})

    @api.route("GET", "/v2.1/servers/{server}")
    def show(request: Request) -> dict[str, Any]:
        return {"server": views.server(servers.get(request.path["server"]), _base(request))}

    @api.route("DELETE", "/v2.1/servers/{server}")
    def delete(request: Request) -> None:
        try:
            deletion.delete(request.path["server"])
        except InstanceNotFound as error:
            raise HttpError(404, str(error)) from None
        except Unreachable as error:
            raise HttpError(
                503, f"The delete goes on when it is asked for again: {error}"
            ) from None

    @api.route("POST", "/v2.1/servers/{server}/action")
    def act(request: Request) -> Reply:
        server, body = request.path["server"], request.body
        match body:
            case {"reboot": {"type": str(kind)}}:
                servers.reboot(server, kind)
            case {"os-start": _}:
                servers.start(server)
            case {"os-stop": _}:
                servers.stop(server)
            case _:
                raise HttpError(400, f"There is no such action: {body!r}")
        return Reply(202)

    @api.route("GET", "/v2.1/servers/{server}/os-instance-actions")
    def actions(request: Request) -> dict[str, Any]:
        return {"instanceActions": [views.action(done) for done in _actions(request)]}

    @api.route("GET", "/v2.1/servers/{server}/os-instance-actions/{asked_by}")
    def show_action(request: Request) -> dict[str, Any]:
        for done in _actions(request):
            if done.request == request.path["asked_by"]:
                return {"instanceAction": views.action(done)}
        raise not_found("Action", request.path["asked_by"])


def _attachments(api: Api) -> None:
    path = "/v2.1/servers/{server}/os-volume_attachments"

    @api.route("GET", path)
    def list_all(request: Request) -> dict[str, Any]:
        found = attachments.find_all(request.path["server"])
        return {"volumeAttachments": [views.attachment(device) for device in found]}

    @api.route("POST", path)
    def attach(request: Request) -> dict[str, Any]:
        wanted = request.body_of("volumeAttachment")
        if not isinstance(wanted.get("volumeId"), str):
            raise HttpError(400, "Invalid input for field/attribute volumeId.")
        ends_with_server = bool(wanted.get("delete_on_termination", False))
        device = attachments.attach(request.path["server"], wanted["volumeId"], ends_with_server)
        return {"volumeAttachment": views.attachment(device)}

    @api.route("GET", path + "/{volume}")
    def show(request: Request) -> dict[str, Any]:
        device = attachments.get(request.path["server"], request.path["volume"])
        return {"volumeAttachment": views.attachment(device)}

    @api.route("PUT", path + "/{volume}")
    def update(request: Request) -> Reply:
        ends_with_server = request.body_of("volumeAttachment").get("delete_on_termination")
        if not isinstance(ends_with_server, bool):
            raise HttpError(400, "Only delete_on_termination can be changed.")
        attachments.update(request.path["server"], request.path["volume"], ends_with_server)
        return Reply(202)

    @api.route("DELETE", path + "/{volume}")
    def detach(request: Request) -> Reply:
        attachments.detach(request.path["server"], request.path["volume"])
        return Reply(202)


def _rest(api: Api) -> None:
    @api.route("GET", "/v2.1/flavors")
    @api.route("GET", "/v2.1/flavors/detail")
    def list_flavors(request: Request) -> dict[str, Any]:
        return {"flavors": [views.flavor(shown, _base(request)) for shown in flavors.FLAVORS]}

    @api.route("GET", "/v2.1/flavors/{flavor}")
    def show_flavor(request: Request) -> dict[str, Any]:
        shown = flavors.find(request.path["flavor"])
        if shown is None or shown.id != request.path["flavor"]:
            raise not_found("Flavor", request.path["flavor"])
        return {"flavor": views.flavor(shown, _base(request))}

    @api.route("GET", "/v2.1/flavors/{flavor}/os-extra_specs")
    def extra_specs(_: Request) -> dict[str, Any]:
        return {"extra_specs": {}}

    @api.route("GET", "/v2.1/limits")
    def limits(_: Request) -> dict[str, Any]:
        return {"limits": views.limits(servers.find_all(), servers.QUOTA_INSTANCES)}

    @api.route("GET", "/v2.1/os-availability-zone")
    def zones(_: Request) -> dict[str, Any]:
        nova = {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
        return {"availabilityZoneInfo": [nova]}


def _id(record: Any) -> str:
    return record.instance if isinstance(record, BuildRequest) else record.uuid


def _matching(request: Request) -> list[Any]:
    found = servers.find_all()
    name, status = request.query.get("name", ""), request.query.get("status", "")
    if name:
        found = [record for record in found if name in record.name]
    if status:
        base = _base(request)
        found = [r for r in found if views.server(r, base)["status"] == status.upper()]
    marker = request.query.get("marker")
    if marker:
        ids = [_id(record) for record in found]
        found = found[ids.index(marker) + 1 :] if marker in ids else []
    return found[: int(request.query.get("limit", "1000"))]


def _actions(request: Request) -> list[InstanceAction]:
    server = servers.get(request.path["server"])
    return [] if isinstance(server, BuildRequest) else InstanceAction.find(server.cell, server.uuid)
