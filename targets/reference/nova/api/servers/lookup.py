"""Find servers, wherever they are."""

from __future__ import annotations

from targets.reference.nova import databases, deletion
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Vm
from targets.reference.policy import owns
from targets.reference.web import HttpError, not_found


def get(server_id: str) -> BuildRequest | Instance:
    """Return a server of the caller's.

    Raises:
        HttpError: 404.
    """
    found = deletion.find(server_id)
    if found is None or not owns(found.project_id):
        raise not_found("Instance", server_id)
    return found


def get_placed(server_id: str) -> Instance:
    """Return a server that is on a host.

    Raises:
        HttpError: 404; 409, it is not that far.
    """
    found = get(server_id)
    if isinstance(found, BuildRequest) or not found.host:
        raise HttpError(409, f"Instance {server_id} is not ready.")
    return found


def find_all(project_id: str | None = None) -> list[BuildRequest | Instance]:
    """Return all servers, or those of one project: each once, the latest first.

    None that is deleted softly.
    """
    only = {} if project_id is None else {"project_id": project_id}
    # In the order in which a server moves, so that none is missed.
    waiting = {
        request.instance: request
        for request in BuildRequest.find()
        if project_id in (None, request.project_id)
    }
    placed = [
        instance
        for cell in databases.cells()
        for instance in Instance.find(cell, hidden=False, **only)
        if instance.uuid not in waiting and instance.vm_state != Vm.SOFT_DELETED
    ]
    found: list[BuildRequest | Instance] = [*waiting.values(), *placed]
    return sorted(found, key=lambda record: record.created_at, reverse=True)


def id_of(record: BuildRequest | Instance) -> str:
    """Return a server's id."""
    return record.instance if isinstance(record, BuildRequest) else record.uuid
