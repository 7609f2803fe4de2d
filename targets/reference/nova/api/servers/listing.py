"""Lists of servers: which, in which order, which page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from targets.reference import context
from targets.reference.nova.api import microversion
from targets.reference.nova.api.paging import page
from targets.reference.nova.api.router import url
from targets.reference.nova.api.servers import lookup, views
from targets.reference.nova.api.servers.lookup import Server
from targets.reference.nova.instance import Instance
from targets.reference.schema import as_boolean, read_query
from targets.reference.web import HttpError, Request


def servers(request: Request, view: Callable[[Server, Request], dict[str, Any]]) -> dict[str, Any]:
    """Return the page of servers that a request asks for.

    A cell that cannot be asked costs the details of its servers (from 2.69 on) or them all.

    Raises:
        HttpError: 400, what it asks for makes no sense.
    """
    caller, query = context.current(), request.query
    everybodys = caller.is_admin and read_query(request, "all_tenants", _truth, False)
    project = None if everybodys else caller.project_id
    if everybodys:
        project = query.get("project_id") or query.get("tenant_id")
    found, missing = lookup.find_all_there_are(project)
    wanted = [record for record in found if _matches(record, request)]
    where = url(request, "servers", *(("detail",) if view is views.server else ()))
    shown, links = page(request, _sorted(wanted, request), lookup.id_of, where, "servers")
    listed = [view(record, request) for record in shown]
    if microversion.of(request) >= 69 and not links and not {*query} & {*_FILTERS}:
        listed += [views.of_down_cell(mapping, request) for mapping in missing]
    return {"servers": listed, **links}


def _truth(given: str) -> bool:
    return True if given == "" else as_boolean(given)


def _matches(record: Server, request: Request) -> bool:
    return all(
        test(record, value, request)
        for name, value in request.query.items()
        if (test := _FILTERS.get(name))
    )


def _name(record: Server, value: str, _: Request) -> bool:
    try:
        return re.search(value, record.name) is not None
    except re.error:
        raise HttpError(400, f"Invalid filter: {value[:255]}") from None


def _status(record: Server, value: str, request: Request) -> bool:
    wanted = {one.upper() for one in request.query.getlist("status")} if request else {value}
    return bool(_seen(record, request)["status"] in wanted)


def _seen(record: Server, request: Request) -> Mapping[str, Any]:
    if isinstance(record, Instance):
        return {"status": views.status(record.vm_state, record.task_state)}
    return {"status": "BUILD"}


def _flavor(record: Server, value: str, _: Request) -> bool:
    said = record.attributes.flavor
    return value == record.flavor or (said.get("name") == record.flavor and value == said.get("id"))


def _tags(record: Server, value: str, _: Request) -> bool:
    return {*value.split(",")} <= {*record.tags}


def _any_tags(record: Server, value: str, _: Request) -> bool:
    return bool({*value.split(",")} & {*record.tags})


def _changed_since(record: Server, value: str, _: Request) -> bool:
    changed = record.updated_at if isinstance(record, Instance) else record.created_at
    return changed >= value


def _address(record: Server, value: str, _: Request) -> bool:
    return isinstance(record, Instance) and any(value in port["ip"] for port in record.ports)


def _equal(name: str) -> Callable[[Server, str, Request], bool]:
    return lambda record, value, _: str(getattr(record, name, None)) == value


def _said(name: str) -> Callable[[Server, str, Request], bool]:
    return lambda record, value, _: getattr(record.attributes, name) == value


def _locked(record: Server, value: str, _: Request) -> bool:
    return record.attributes.locked == (value.lower() in ("true", "1"))


_FILTERS: Mapping[str, Callable[[Server, str, Request], bool]] = {
    "availability_zone": _said("availability_zone"),
    "changes-since": _changed_since,
    "deleted": lambda record, value, _: value.lower() not in ("true", "1"),
    "description": _said("description"),
    "flavor": _flavor,
    "host": _equal("host"),
    "image": _equal("image"),
    "ip": _address,
    "key_name": _said("key_name"),
    "locked": _locked,
    "name": _name,
    "not-tags": lambda *asked: not _tags(*asked),
    "not-tags-any": lambda *asked: not _any_tags(*asked),
    "reservation_id": _said("reservation_id"),
    "status": _status,
    "tags": _tags,
    "tags-any": _any_tags,
    "user_id": _equal("user_id"),
    "uuid": lambda record, value, _: lookup.id_of(record) == value,
    "vm_state": _equal("vm_state"),
}
"""What may be asked of a server; anything else in a query says nothing, as in Nova."""

_KEYS: Mapping[str, Callable[[Server], Any]] = {
    "created_at": lambda record: record.created_at,
    "display_name": lambda record: record.name,
    "host": lambda record: getattr(record, "host", None) or "",
    "image_ref": lambda record: record.image,
    "key_name": lambda record: record.attributes.key_name or "",
    "memory_mb": lambda record: record.ram,
    "name": lambda record: record.name,
    "project_id": lambda record: record.project_id,
    "task_state": lambda record: str(getattr(record, "task_state", None) or ""),
    "updated_at": lambda record: getattr(record, "updated_at", record.created_at),
    "user_id": lambda record: record.user_id,
    "uuid": lookup.id_of,
    "vcpus": lambda record: record.vcpus,
    "vm_state": lambda record: str(getattr(record, "vm_state", "building")),
}


def _sorted(found: list[Server], request: Request) -> list[Server]:
    keys = request.query.getlist("sort_key")
    directions = request.query.getlist("sort_dir")
    if len(directions) > max(len(keys), 1):
        raise HttpError(400, "Sort direction size exceeds sort key size")
    # By the last key first: each sort keeps the order of the one before.
    for index in reversed(range(len(keys))):
        direction = directions[index] if index < len(directions) else (directions or ["desc"])[0]
        if keys[index] not in _KEYS or direction not in ("asc", "desc"):
            raise HttpError(
                400, f"Invalid input for query parameters sort_key: {keys[index][:255]}"
            )
        found = sorted(found, key=_KEYS[keys[index]], reverse=direction == "desc")
    return found
