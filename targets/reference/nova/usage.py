"""How much of a host its servers use, and how that gets into the host's record.

On a host count its servers that are not deleted, each with the flavor that it has now, and for each
move in progress what the server has there beside that: at its source the old flavor, so that it can
come back, at its destination the new one. Whoever changes one of these counts anew in the same
transaction, so the record is never out of step. A compute does it under its semaphore; who has not
that one changes nothing that counts on a host, but for the delete and the evacuation of a server
whose host is down. The record has a generation, by which the periodic task that reads first and
writes then knows that somebody has counted meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from targets.reference.database import utc_now
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import MoveStatus, in_progress
from targets.reference.nova.states import Task
from targets.reference.nova.tables import COMPUTE_NODES, INSTANCES, MIGRATIONS

RESOURCES = ("vcpus", "ram", "disk")


class ComputeResourcesUnavailable(Exception):
    """The host has no room for the server; nothing was changed."""


def together(*steps: Step) -> Step:
    """Return one step that is all of these, one after the other."""

    def all_of_them(connection: sa.Connection) -> None:
        for step in steps:
            step(connection)

    return all_of_them


def count(host: str) -> Step:
    """Return the step that writes down what is used of a host."""

    def write(connection: sa.Connection) -> None:
        used = derived(connection, host)
        connection.execute(COMPUTE_NODES.update().filter_by(host=host).values(_values(used)))

    return write


def generation(connection: sa.Connection, host: str) -> int:
    """Return how often the use of a host has been written down."""
    query = sa.select(COMPUTE_NODES.c.generation).filter_by(host=host)
    return int(connection.execute(query).scalar_one())


def write_if(connection: sa.Connection, host: str, used: Counter[str], generation: int) -> bool:
    """Write down what is used of a host, unless somebody has since that ``generation``."""
    unchanged = COMPUTE_NODES.update().filter_by(host=host, generation=generation)
    return connection.execute(unchanged.values(_values(used))).rowcount == 1


def _values(used: Counter[str]) -> dict[str, Any]:
    counted: dict[str, Any] = {f"{name}_used": used[name] for name in RESOURCES}
    return {**counted, "generation": COMPUTE_NODES.c.generation + 1}


def fits(host: str) -> Step:
    """Return the step that refuses what was claimed before it if there is no room for all.

    What a server has that is being deleted is free: placement may have given it away already.

    Raises:
        ComputeResourcesUnavailable: by the step.
    """

    def check(connection: sa.Connection) -> None:
        node = connection.execute(sa.select(COMPUTE_NODES).filter_by(host=host)).one()
        wanted = derived(connection, host, leaving=False)
        for name in RESOURCES:
            has = getattr(node, name)
            if wanted[name] > has:
                raise ComputeResourcesUnavailable(
                    f"{host} has {has} {name}, and {wanted[name]} would be used"
                )

    return check


def forget(instance: Instance) -> Step:
    """Return the step that ends what is in progress with an instance that is being deleted.

    It is counted on every host that had a part of it, also by somebody who is none of them.
    """

    def end(connection: sa.Connection) -> None:
        moves = MIGRATIONS.update().filter_by(instance=instance.uuid).where(in_progress())
        ended = connection.execute(
            moves.values(status=MoveStatus.ERROR, updated_at=utc_now()).returning(
                MIGRATIONS.c.source_compute, MIGRATIONS.c.dest_compute
            )
        )
        for host in {instance.host, *(host for move in ended.all() for host in move)}:
            if host:
                count(host)(connection)

    return end


def derived(connection: sa.Connection, host: str, *, leaving: bool = True) -> Counter[str]:
    """Count what is used of a host, with or without servers that are ``leaving`` for good."""
    return of_instances(connection, host, leaving) + of_moves(connection, host, leaving)


def of_instances(connection: sa.Connection, host: str, leaving: bool = True) -> Counter[str]:
    """Count the servers that are on a host."""
    query = sa.select(*(sa.func.sum(INSTANCES.c[name]) for name in RESOURCES))
    query = query.filter_by(host=host, deleted_at=None)
    row = connection.execute(query if leaving else query.where(_stays())).one()
    return Counter({name: used or 0 for name, used in zip(RESOURCES, row, strict=True)})


def of_moves(connection: sa.Connection, host: str, leaving: bool = True) -> Counter[str]:
    """Count what moves in progress have on a host beside the server itself."""
    query = (
        sa.select(
            MIGRATIONS.c.source_compute,
            MIGRATIONS.c.dest_compute,
            MIGRATIONS.c.old_flavor,
            MIGRATIONS.c.new_flavor,
            INSTANCES.c.host,
            INSTANCES.c.flavor,
        )
        .join(INSTANCES, INSTANCES.c.uuid == MIGRATIONS.c.instance)
        .where(in_progress(), INSTANCES.c.deleted_at.is_(None))
        .where(sa.or_(MIGRATIONS.c.source_compute == host, MIGRATIONS.c.dest_compute == host))
    )
    used: Counter[str] = Counter()
    for move in connection.execute(query if leaving else query.where(_stays())):
        flavor = _beside(move, host)
        used.update({name: flavor[name] for name in RESOURCES} if flavor else {})
    return used


def _beside(move: Any, host: str) -> dict[str, Any] | None:
    """Return the flavor that a move has on ``host`` beside the server, None when it has none."""
    new: dict[str, Any] = move.new_flavor
    old: dict[str, Any] = move.old_flavor
    if move.source_compute == move.dest_compute:
        return old if move.flavor == new["flavor"] else new
    if move.host == host:
        return None
    return old if move.source_compute == host else new


def _stays() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(INSTANCES.c.task_state, "") != Task.DELETING
