"""What happens to a cloud beside its interface: its settings, its guests and its periodic tasks."""

from __future__ import annotations

from typing import Any

from chaos.operation import Scope
from targets.cloud.catalogue import Server, operation
from targets.cloud.operator import GuestFate
from targets.cloud.records import server_id


@operation("cloud.configure")
def configure(scope: Scope, setting: str, value: int) -> dict[str, Any]:
    """Change one of the cloud's settings."""
    scope.client.operator.configure(setting, value, scope.request_id, scope.deadline_s)
    return {setting: value}


@operation("guest.crash", strikes=True)
def crash_guest(scope: Scope, server: Server) -> dict[str, Any]:
    """Let a server's guest die by itself."""
    return _strike_guest(scope, server, "crash")


@operation("guest.shutdown", strikes=True)
def shut_guest_down(scope: Scope, server: Server) -> dict[str, Any]:
    """Let a server's guest shut itself down."""
    return _strike_guest(scope, server, "power-off")


@operation("guest.ignore_acpi", strikes=True)
def deafen_guest(scope: Scope, server: Server) -> dict[str, Any]:
    """Let a server's guest hang: until it is started anew it ignores that it shall shut down."""
    return _strike_guest(scope, server, "ignore-acpi")


@operation("compute.tick")
def tick(scope: Scope, host: str, task: str) -> dict[str, Any]:
    """Have a host's compute run one of its periodic tasks, and wait until it is done."""
    scope.client.operator.run_periodic_task(host, task, scope.request_id, scope.deadline_s)
    return {"host": host}


@operation("conductor.resume_builds")
def resume_builds(scope: Scope) -> dict[str, Any]:
    """Have a conductor take up every build that goes on, as one does when it starts."""
    scope.client.operator.resume_builds(scope.request_id)
    return {}


def _strike_guest(scope: Scope, server: str, fate: GuestFate) -> dict[str, Any]:
    key = server_id(scope, server)
    scope.client.operator.strike_guest(key, fate, scope.request_id, scope.deadline_s)
    return {"server": key}
