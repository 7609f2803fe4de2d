"""What was asked of a server, and what became of it."""

from __future__ import annotations

from typing import Any

from targets.reference.nova.action import ActionEvent, InstanceAction
from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.web import Request, not_found

router = Router()


@router.route("GET", "/servers/{server}/os-instance-actions", "os-instance-actions:list")
def list_all(request: Request) -> dict[str, Any]:
    """List a server's actions, the latest first."""
    return {"instanceActions": [_view(done) for done in _find(request)]}


@router.route("GET", "/servers/{server}/os-instance-actions/{asked_by}", "os-instance-actions:list")
def show(request: Request) -> dict[str, Any]:
    """Show what one request asked."""
    server = lookup.get(request.path["server"])
    for done in _find(request):
        if done.request == request.path["asked_by"] and isinstance(server, Instance):
            events = [_event(event) for event in ActionEvent.find(server.cell, done)]
            return {"instanceAction": {**_view(done), "events": events}}
    raise not_found("Action", request.path["asked_by"])


def _find(request: Request) -> list[InstanceAction]:
    server = lookup.get(request.path["server"])
    return [] if isinstance(server, BuildRequest) else InstanceAction.find(server.cell, server.uuid)


def _view(shown: InstanceAction) -> dict[str, Any]:
    return {
        "action": shown.action,
        "instance_uuid": shown.instance,
        "request_id": shown.request,
        "user_id": shown.user_id,
        "project_id": shown.project_id,
        "start_time": shown.started_at,
        "updated_at": shown.finished_at,
        "message": "Error" if shown.result == "Error" else None,
    }


def _event(shown: ActionEvent) -> dict[str, Any]:
    return {
        "event": shown.event,
        "start_time": shown.started_at,
        "finish_time": shown.finished_at,
        "result": shown.result or None,
        "traceback": None,
        "hostId": shown.host,
        "host": shown.host,
    }
