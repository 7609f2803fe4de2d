"""What a compute does from time to time about its resources and its moves."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from targets.reference.nova import moves
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.periodic import periodic_task
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import Migration, MoveConflict, MoveStatus
from targets.reference.nova.states import Vm

LOG = logging.getLogger(__name__)


@periodic_task
def update_available_resource(host: Host) -> None:
    """Count anew what the instances and moves of this host use."""
    host.tracker.update_available_resource()


@periodic_task
def poll_unconfirmed_resizes(host: Host) -> None:
    """Confirm the moves to this host that nobody has decided about."""
    arrived = Migration.find(host.cell, dest_compute=host.name, status=MoveStatus.FINISHED)
    for migration in arrived:
        instance = Instance.get(host.cell, migration.instance)
        if instance is None or instance.vm_state != Vm.RESIZED:
            continue
        try:
            if migration.is_cross_cell and not _is_here(instance):
                continue
            moves.confirm(instance, migration)
        except (InstanceNotFound, UnexpectedTaskState, MoveConflict) as conflict:
            LOG.warning("%s is not confirmed now: %s", instance.uuid, conflict)
        except DBAPIError:
            LOG.exception("Error auto-confirming resize of %s; the next time then", instance.uuid)


def _is_here(instance: Instance) -> bool:
    """Whether this cell has the say of an instance.

    It is the one thing that a compute asks of the API database, which it may not be able to reach.
    """
    mapping = InstanceMapping.get(instance.uuid)
    return mapping is not None and mapping.cell == instance.cell
