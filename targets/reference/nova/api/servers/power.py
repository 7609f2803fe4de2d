"""Reboot, start, stop, pause and unpause a server."""

from __future__ import annotations

from typing import Literal

from targets.reference.nova.api.servers.actions import action, begin, in_state, resumes
from targets.reference.nova.instance import Instance
from targets.reference.nova.rpc import ComputeRpc
from targets.reference.nova.states import (
    ALLOW_HARD_REBOOT,
    ALLOW_SOFT_REBOOT,
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Reboot,
    Task,
    Vm,
)
from targets.reference.schema import Schema
from targets.reference.web import Request

SOFT_REBOOT_FROM = {None, Task.REBOOTING, Task.REBOOT_PENDING, Task.REBOOT_STARTED}
HARD_REBOOT_FROM = {None, *SOFT_REBOOT_TASKS, *HARD_REBOOT_TASKS}


class RebootSchema(Schema):
    """How patient the reboot is; in any case."""

    type: Literal["SOFT", "HARD", "soft", "hard", "Soft", "Hard"]


@action("reboot", RebootSchema)
def reboot(_: Request, server: str, asked: RebootSchema) -> None:
    """Have a server rebooted."""
    soft = asked.type.upper() == Reboot.SOFT
    instance = in_state(server, ALLOW_SOFT_REBOOT if soft else ALLOW_HARD_REBOOT, "reboot")
    if soft:
        begin(instance, "reboot", Task.REBOOTING, SOFT_REBOOT_FROM)
    else:
        begin(instance, "reboot", Task.REBOOTING_HARD, HARD_REBOOT_FROM)
    ComputeRpc.reboot(instance, Reboot.SOFT if soft else Reboot.HARD)


@resumes(Task.REBOOTING, Task.REBOOTING_HARD)
def resume_reboot(instance: Instance) -> None:
    """Ask for the reboot again."""
    soft = instance.task_state == Task.REBOOTING
    ComputeRpc.reboot(instance, Reboot.SOFT if soft else Reboot.HARD)


@action("os-start")
def start(_: Request, server: str, asked: None) -> None:
    """Have a stopped server started."""
    instance = in_state(server, {Vm.STOPPED}, "start")
    begin(instance, "start", Task.POWERING_ON, {None})
    ComputeRpc.start(instance)


@resumes(Task.POWERING_ON)
def resume_start(instance: Instance) -> None:
    """Ask for the start again."""
    ComputeRpc.start(instance)


@action("os-stop")
def stop(_: Request, server: str, asked: None) -> None:
    """Have a running server shut down."""
    instance = in_state(server, {Vm.ACTIVE, Vm.ERROR}, "stop")
    begin(instance, "stop", Task.POWERING_OFF, {None})
    ComputeRpc.stop(instance)


@resumes(Task.POWERING_OFF)
def resume_stop(instance: Instance) -> None:
    """Ask for the stop again."""
    ComputeRpc.stop(instance)


@action("pause")
def pause(_: Request, server: str, asked: None) -> None:
    """Have a running server paused."""
    instance = in_state(server, {Vm.ACTIVE}, "pause")
    begin(instance, "pause", Task.PAUSING, {None})
    ComputeRpc.pause(instance)


@resumes(Task.PAUSING)
def resume_pause(instance: Instance) -> None:
    """Ask for the pause again."""
    ComputeRpc.pause(instance)


@action("unpause")
def unpause(_: Request, server: str, asked: None) -> None:
    """Have a paused server go on."""
    instance = in_state(server, {Vm.PAUSED}, "unpause")
    begin(instance, "unpause", Task.UNPAUSING, {None})
    ComputeRpc.unpause(instance)


@resumes(Task.UNPAUSING)
def resume_unpause(instance: Instance) -> None:
    """Ask for it again."""
    ComputeRpc.unpause(instance)
