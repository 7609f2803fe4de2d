"""Migrations: the moves of servers, as their operator sees them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError

from targets.reference.nova import databases, flavors
from targets.reference.nova.api import microversion
from targets.reference.nova.api.paging import page
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import Migration
from targets.reference.web import Request

router = Router()
_FILTERS = {
    "instance_uuid": "instance",
    "status": "status",
    "migration_type": "migration_type",
    "source_compute": "source_compute",
}


@router.route("GET", "/os-migrations", "os-migrations:index")
def list_all(request: Request) -> dict[str, Any]:
    """List the migrations, the latest first; those of a cell that cannot be asked are left out."""
    query, version = request.query, microversion.of(request)
    wanted = {column: query[name] for name, column in _FILTERS.items() if name in query}
    if version >= 80:
        wanted |= {name: query[name] for name in ("user_id", "project_id") if name in query}
    found: list[Migration] = []
    for cell in databases.cells()[1:]:
        try:
            found += Migration.find(cell, **wanted)
        except DBAPIError:
            continue
    found = _each_once(found)
    if "host" in query:
        found = [move for move in found if query["host"] in move.hosts]
    found.sort(key=lambda move: (move.created_at, move.id), reverse=True)
    links: dict[str, Any] = {}
    if version >= 59:
        where = url(request, "os-migrations")
        found, links = page(request, found, lambda move: move.uuid, where, "migrations")
    ids = {flavor.name: flavor.id for flavor in flavors.find_all()} if found else {}
    return {"migrations": [_view(move, version, ids) for move in found], **links}


def _each_once(found: list[Migration]) -> list[Migration]:
    """Leave one of the two records of a move between cells: that of the server's cell."""
    twice = len({move.uuid for move in found}) < len(found)
    mappings = {m.instance: m.cell for m in InstanceMapping.find()} if twice else {}
    here_last = sorted(found, key=lambda move: mappings.get(move.instance) == move.cell)
    return list({move.uuid: move for move in here_last}.values())


def _view(move: Migration, version: int, flavor_ids: dict[str, str]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": move.id,
        "instance_uuid": move.instance,
        "status": str(move.status),
        "source_compute": move.source_compute,
        "source_node": move.source_compute,
        "dest_compute": move.dest_compute,
        "dest_node": move.dest_node,
        "dest_host": "127.0.0.1" if move.dest_compute else None,
        "old_instance_type_id": flavor_ids.get(str(move.old_flavor.get("flavor"))),
        "new_instance_type_id": flavor_ids.get(str(move.new_flavor.get("flavor"))),
        "created_at": move.created_at,
        "updated_at": move.updated_at,
    }
    if version >= 23:
        view["migration_type"] = str(move.migration_type)
    if version >= 59:
        view["uuid"] = move.uuid
    if version >= 80:
        view |= {"user_id": move.user_id, "project_id": move.project_id}
    return view
