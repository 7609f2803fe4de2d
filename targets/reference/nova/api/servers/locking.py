"""Lock a server against its own users, and unlock it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from targets.reference import context
from targets.reference.nova.api import microversion
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.api.servers.actions import action
from targets.reference.nova.instance import Instance
from targets.reference.schema import Schema, Text255, read
from targets.reference.web import HttpError, Request, not_found


class Reason(Schema):
    """Why a server is locked."""

    locked_reason: Text255 | None = None


@action("lock")
def lock(request: Request, server: str, asked: None) -> None:
    """Let nobody but an administrator do anything with a server."""
    given = request.body["lock"]
    if microversion.of(request) < 73 and given is not None:
        given = {}
    reason = read(Reason, given or {}, "lock").locked_reason
    _change(server, locked=True, locked_by_admin=context.current().is_admin, locked_reason=reason)


@action("unlock")
def unlock(_: Request, server: str, asked: None) -> None:
    """Let a server's users do what they like with it again."""
    found = lookup.get_in_cell(server)
    if found.attributes.locked_by_admin and not context.current().is_admin:
        raise HttpError(
            403,
            "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be"
            " performed.",
        )
    _change(server, locked=False, locked_by_admin=False, locked_reason=None)


def _change(server: str, **changes: Any) -> None:
    found = lookup.get_in_cell(server)

    def changed(instance: Instance) -> dict[str, Any]:
        return {"attributes": replace(instance.attributes, **changes)}

    if Instance.modify(found.cell, found.uuid, changed) is None:
        raise not_found("Instance", server)
