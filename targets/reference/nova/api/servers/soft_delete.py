"""Have a server back that was deleted softly, or be rid of it for good."""

from __future__ import annotations

from targets.reference.client import Unreachable
from targets.reference.nova import deletion
from targets.reference.nova.api.servers.actions import action, begin, in_state, resumes
from targets.reference.nova.instance import Instance, InstanceNotFound
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.web import HttpError, Request


@action("restore")
def restore(_: Request, server: str, asked: None) -> None:
    """Have a server back that was deleted softly."""
    instance = in_state(server, {Vm.SOFT_DELETED}, "restore")
    ComputeRpc.restore(begin(instance, "restore", Task.RESTORING, {None}))


@resumes(Task.RESTORING)
def resume_restore(instance: Instance) -> None:
    """Ask for it again."""
    ComputeRpc.restore(instance)


@resumes(Task.SOFT_DELETING)
def resume_soft_delete(instance: Instance) -> None:
    """Ask for it again."""
    ComputeRpc.soft_delete(instance)


@action("forceDelete")
def force_delete(_: Request, server: str, asked: None) -> None:
    """Delete a server for good, whatever is being done with it."""
    try:
        deletion.delete(server)
    except InstanceNotFound as error:
        raise HttpError(404, str(error)) from None
    except Unreachable as error:
        raise HttpError(503, f"The delete goes on when it is asked for again: {error}") from None
