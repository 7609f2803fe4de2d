"""Consoles: an address for each that is asked for, at which nobody listens."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.api.servers.actions import action
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Vm
from targets.reference.schema import Count, Schema, read_body
from targets.reference.web import HttpError, Request

router = Router()
_TYPES = {
    "vnc": ("novnc", "xvpvnc"),
    "spice": ("spice-html5",),
    "rdp": ("rdp-html5",),
    "serial": ("serial",),
    "mks": ("webmks",),
}


class Wanted(Schema):
    """Which console is wanted."""

    protocol: Literal["vnc", "spice", "rdp", "serial", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "rdp-html5", "serial", "webmks"]


class OldWanted(Schema):
    """Which VNC console is wanted, before 2.6."""

    type: Literal["novnc", "xvpvnc"]


class OutputWanted(Schema):
    """How many lines are wanted."""

    length: Count | Literal["-1", -1] | None = None


@router.route("POST", "/servers/{server}/remote-consoles", "os-remote-consoles", since=6)
def create(request: Request) -> dict[str, Any]:
    """Make the address of a console."""
    wanted = read_body(Wanted, request, "remote_console")
    if wanted.type not in _TYPES[wanted.protocol]:
        raise HttpError(400, f"Unavailable console type {wanted.type} of {wanted.protocol}.")
    _running(request.path["server"])
    console = {"protocol": wanted.protocol, "type": wanted.type, "url": _address(request)}
    return {"remote_console": console}


@action("os-getVNCConsole", OldWanted, until=5)
def create_vnc(request: Request, server: str, asked: OldWanted) -> dict[str, Any]:
    """Make the address of a VNC console."""
    _running(server)
    return {"console": {"type": asked.type, "url": _address(request)}}


@action("os-getConsoleOutput", OutputWanted)
def output(_: Request, server: str, asked: OutputWanted) -> dict[str, Any]:
    """Show what the guest has written: nothing."""
    _running(server)
    return {"output": ""}


def _running(server: str) -> Instance:
    found = lookup.get_placed(server)
    if found.vm_state == Vm.BUILDING:
        raise HttpError(409, f"Instance {server} is not ready")
    return found


def _address(request: Request) -> str:
    return f"{request.base}/vnc_auto.html?path=%3Ftoken%3D{secrets.token_hex(16)}"
