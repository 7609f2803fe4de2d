"""How the hosts of a move take turns, whatever kind of move it is.

Each kind says in a table whose turn it is (:class:`MoveKind`): that is read from instance and
migration alone, so the casts between the hosts only say "look". Whoever looks too late, twice, or
after a restart finds the same answer. A step that fails is looked at again a little later, and
after some attempts it is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from targets.reference.nova import databases, services
from targets.reference.nova.action import record_fault
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.migration import Migration, MoveConflict, MoveStatus, MoveType
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, retry_delay_s
from targets.reference.nova.states import Task

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 5


class Turn(Enum):
    """What one host has to do for a move."""

    END = auto()
    # A resize or a cold migration.
    PREP = auto()
    MIGRATE = auto()
    FINISH = auto()
    CONFIRM = auto()
    REVERT = auto()
    FINISH_REVERT = auto()
    # An evacuation.
    REBUILD_CLAIM = auto()
    REBUILD = auto()
    FENCE = auto()
    FORGET = auto()
    # A live migration.
    LIVE_CLAIM = auto()
    LIVE_BEGIN = auto()
    PRE_LIVE = auto()
    LIVE_MIGRATE = auto()
    POST_LIVE = auto()
    ROLLBACK_AT_DEST = auto()
    ROLLBACK_AT_SOURCE = auto()


Step = Callable[[Host, Migration, Instance], None]


@dataclass(frozen=True, slots=True)
class MoveKind:
    """What a kind of move is: whose turn it is, what he does, and what when that fails too often.

    A step that cannot be given up is tried for ever.
    """

    turn: Callable[[str, Migration, Instance], Turn | None]
    steps: Mapping[Turn, Step]
    give_up: Mapping[Turn, Step]


KINDS: dict[MoveType, MoveKind] = {}
"""Filled by the modules of the kinds."""


class Mover:
    """What is called over the bus, for moves of any kind."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def end_move(self, migration: str) -> None:
        """Give back what is here of an instance that is on another host and will stay there."""
        take(self._host, migration, Turn.END)

    def resume_move(self, migration: str, attempt: int = 0) -> None:
        """Do whatever is this host's turn, or tell the other one that it is his.

        After some attempts that failed the move is given up.
        """
        take(self._host, migration, None, attempt)

    def resume_moves(self) -> None:
        """Go on with every move that a crash has cut off; for start-up."""
        for migration in Migration.latest_of_host(self._host.cell, self._host.name):
            self.resume_move(migration.uuid)
        if len(databases.cells()) > len((databases.CELL0, self._host.cell)):
            ConductorRpc.resume_moves_of(self._host.name)


def take(host: Host, migration: str, expected: Turn | None, attempt: int = 0) -> None:
    """Do what is ``expected`` of a host for a move, or whatever is its turn, if it is."""
    known = Migration.get(host.cell, migration)
    if known is None or known.is_cross_cell:
        return
    kind = KINDS[known.migration_type]
    with host.locked(known.instance):
        try:
            found, instance = Migration.get(host.cell, migration), _instance_of(host, known)
            mine = kind.turn(host.name, found, instance) if found and instance else None
            if found is None or instance is None or mine is None or mine != (expected or mine):
                LOG.info("migration %s: it is not our turn (%s)", migration, expected)
                if found and instance and expected is None:
                    _pass_on(found, instance)
            elif attempt < LAST_ATTEMPT or mine not in kind.give_up:
                kind.steps[mine](host, found, instance)
            else:
                kind.give_up[mine](host, found, instance)
        except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
            LOG.info("migration %s stops: %s", migration, conflict)
        except Exception as error:
            LOG.exception("migration %s failed, attempt %d", migration, attempt)
            record_fault(host.cell, known.instance, f"{known.migration_type}: {error}")
            ComputeRpc.resume_move(host.name, migration, attempt + 1, retry_delay_s(attempt))


def _instance_of(host: Host, migration: Migration) -> Instance | None:
    """Return the instance that moves; when it is deleted, remove what is here of it."""
    instance = Instance.get(host.cell, migration.instance)
    if instance is None:
        devices.remove_guest(host, migration.instance)
        if migration.status == MoveStatus.DONE and migration.source_compute == host.name:
            migration.forget_source()
    return instance


def still_elsewhere(host: Host, migration: Migration) -> bool:
    """Have the other host of an instance that is deleted clean up, if it is up.

    One that is down does so when it starts, as it finds the instance deleted.
    """
    others = migration.hosts - {host.name}
    up = [other for other in others if services.is_host_up(host.cell, other)]
    for other in up:
        ComputeRpc.end_move(other, migration.uuid)
    return bool(up)


def tell_others(host: Host, migration: Migration) -> None:
    """Have the other host forget an instance that is deleted now, if it has come up meanwhile."""
    for other in migration.hosts - {host.name}:
        if services.is_listening(other):
            ComputeRpc.end_move(other, migration.uuid)


def _pass_on(migration: Migration, instance: Instance) -> None:
    turn = KINDS[migration.migration_type].turn
    for other in (migration.source_compute, migration.dest_compute, migration.dest_node):
        his = turn(other, migration, instance) if other else None
        if other and his and (his != Turn.FORGET or services.is_listening(other)):
            ComputeRpc.resume_move(other, migration.uuid)
            return
    if instance.task_state == Task.DELETING and instance.host:
        # It may wait for the word that its other host has no more of it.
        ComputeRpc.terminate(instance)
