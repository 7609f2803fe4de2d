"""Shelve a server, remove it from its host, and bring it again."""

from __future__ import annotations

import uuid

from targets.reference.nova.api.servers import lookup
from targets.reference.nova.api.servers.actions import action, begin, cannot, in_state, resumes
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.images import SHELVED
from targets.reference.nova.instance import Instance
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.web import HttpError, Request


@action("shelve")
def shelve(_: Request, server: str, asked: None) -> None:
    """Have a server shut off and kept as an image, whose id is written down first."""
    instance = in_state(server, {Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED}, "shelve")
    kept = instance.remembering(**{SHELVED: str(uuid.uuid4())})
    ComputeRpc.shelve(begin(instance, "shelve", Task.SHELVING, {None}, system_metadata=kept))


@resumes(Task.SHELVING)
def resume_shelve(instance: Instance) -> None:
    """Ask for it again."""
    ComputeRpc.shelve(instance)


@action("shelveOffload")
def shelve_offload(_: Request, server: str, asked: None) -> None:
    """Have a shelved server removed from its host."""
    instance = in_state(server, {Vm.SHELVED}, "shelveOffload")
    ComputeRpc.shelve_offload(begin(instance, "shelveOffload", Task.SHELVING_OFFLOADING, {None}))


@resumes(Task.SHELVING_OFFLOADING)
def resume_shelve_offload(instance: Instance) -> None:
    """Ask for it again."""
    ComputeRpc.shelve_offload(instance)


@action("unshelve")
def unshelve(_: Request, server: str, asked: None) -> None:
    """Have a shelved server brought again: where it is, or wherever there is room."""
    instance = lookup.get(server)
    if isinstance(instance, BuildRequest):
        raise HttpError(409, f"Instance {server} is not ready.")
    if instance.vm_state not in (Vm.SHELVED, Vm.SHELVED_OFFLOADED):
        raise cannot("unshelve", instance)
    resume_unshelve(begin(instance, "unshelve", Task.UNSHELVING, {None}))


@resumes(Task.UNSHELVING)
def resume_unshelve(instance: Instance) -> None:
    """Ask for it again."""
    if instance.host:
        ComputeRpc.unshelve(instance)
    else:
        ConductorRpc.unshelve_instance(instance.cell, instance.uuid)
