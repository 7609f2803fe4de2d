"""Find servers, wherever they are."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from targets.reference.nova import databases, deletion
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.states import Vm
from targets.reference.policy import owns
from targets.reference.web import HttpError, not_found

LOG = logging.getLogger(__name__)
Server = BuildRequest | Instance
"""A server, before and after it has got into a cell."""


def get(server_id: str) -> Server:
    """Return a server of the caller's.

    Raises:
        HttpError: 404.
    """
    found = deletion.find(server_id)
    if found is None or not owns(found.project_id):
        raise not_found("Instance", server_id)
    return found


def get_in_cell(server_id: str) -> Instance:
    """Return a server that is in a cell, on whatever host or none.

    Raises:
        HttpError: 404; 409, it is not that far.
    """
    found = get(server_id)
    if isinstance(found, BuildRequest):
        raise HttpError(409, f"Instance {server_id} is not ready.")
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


def see_that_it_is_not_locked(record: Server) -> None:
    """Let nobody but an administrator change a locked server.

    Raises:
        HttpError: 409, it is locked.
    """
    if record.is_locked_for_caller:
        raise HttpError(409, f"Instance {id_of(record)} is locked")


def find_all(project_id: str | None = None) -> list[Server]:
    """Return all servers, or those of one project: each once, the latest first.

    None that is deleted softly.
    """
    return find_all_there_are(project_id)[0]


def find_all_there_are(project_id: str | None) -> tuple[list[Server], list[InstanceMapping]]:
    """Return the same, and what is known of the servers in cells that cannot be asked."""
    only = {} if project_id is None else {"project_id": project_id}
    # In the order in which a server moves, so that none is missed.
    waiting = {
        request.instance: request
        for request in BuildRequest.find()
        if project_id in (None, request.project_id)
    }
    placed: list[Instance] = []
    missing: list[InstanceMapping] = []
    for cell in databases.cells():
        try:
            placed += Instance.find(cell, **only)
        except DBAPIError as error:
            LOG.warning("%s cannot be asked: %s", cell, error)
            missing += InstanceMapping.find(cell=cell, queued_for_delete=False, **only)
    shown = [
        instance
        for instance in _each_once(placed)
        if instance.uuid not in waiting and instance.vm_state != Vm.SOFT_DELETED
    ]
    found: list[Server] = [*waiting.values(), *shown]
    return sorted(found, key=lambda record: record.created_at, reverse=True), missing


def _each_once(found: list[Instance]) -> list[Instance]:
    """Leave out the hidden copy of one that moves between cells, or else either of the two.

    They were read one after the other; in between, what is hidden may have changed.
    """
    if not any(instance.hidden for instance in found):
        return found
    shown_last = sorted(found, key=lambda instance: not instance.hidden)
    return list({instance.uuid: instance for instance in shown_last}.values())


def id_of(record: Server) -> str:
    """Return a server's id."""
    return record.instance if isinstance(record, BuildRequest) else record.uuid
