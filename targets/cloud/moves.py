"""Operations that move servers between hosts and flavors; they add to the catalogue."""

from __future__ import annotations

from typing import Any

from chaos.operation import Scope
from targets.cloud.catalogue import Server, operation
from targets.cloud.records import server_id
from targets.cloud.servers import flavor_id, wait_server

_VERSION = "2.68"
"""Of what only an administrator may do: from here on no host can be forced."""


@operation("server.resize")
def resize_server(scope: Scope, server: Server, flavor: str, wait: str = "") -> dict[str, Any]:
    """Move a server to another flavor; with ``wait``, until it has that status and no task."""
    key = server_id(scope, server)
    scope.client.compute.resize_server(key, flavor_id(scope.client, flavor))
    return _accepted(scope, server, key, wait)


@operation("server.migrate")
def migrate_server(scope: Scope, server: Server, host: str = "", wait: str = "") -> dict[str, Any]:
    """Move a server to another host, to ``host`` if that is given."""
    key = server_id(scope, server)
    scope.client.compute.migrate_server(key, host=host or None)
    return _accepted(scope, server, key, wait)


@operation("server.confirm_resize")
def confirm_server_resize(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Let a server stay where and what it has become."""
    key = server_id(scope, server)
    scope.client.compute.confirm_server_resize(key)
    return _accepted(scope, server, key, wait, 204)


@operation("server.revert_resize")
def revert_server_resize(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Have a server become again what it was, where it was."""
    key = server_id(scope, server)
    scope.client.compute.revert_server_resize(key)
    return _accepted(scope, server, key, wait)


@operation("server.evacuate")
def evacuate_server(scope: Scope, server: Server, host: str = "", wait: str = "") -> dict[str, Any]:
    """Have a server made anew on another host, on ``host`` if that is given: its own is down."""
    return _act_as_administrator(scope, server, wait, evacuate={"host": host} if host else {})


@operation("server.live_migrate")
def live_migrate_server(
    scope: Scope, server: Server, host: str = "", wait: str = ""
) -> dict[str, Any]:
    """Move a server to another host while it runs, to ``host`` if that is given."""
    wanted = {"host": host or None, "block_migration": "auto"}
    return _act_as_administrator(scope, server, wait, **{"os-migrateLive": wanted})


def _act_as_administrator(scope: Scope, server: str, wait: str, **action: Any) -> dict[str, Any]:
    from openstack.exceptions import raise_from_response

    key = server_id(scope, server)
    compute = scope.client.administrator().compute
    response = compute.post(f"/servers/{key}/action", json=action, microversion=_VERSION)
    raise_from_response(response)
    return _accepted(scope, server, key, wait, response.status_code)


def _accepted(scope: Scope, server: str, key: str, wait: str, status: int = 202) -> dict[str, Any]:
    if wait:
        wait_server(scope, server, wait)
    return {"status": status, "server": key}
