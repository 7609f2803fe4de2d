"""What a user does with servers."""

from __future__ import annotations

import functools
from typing import Any, Literal

from chaos.operation import ExpectationFailed, OperationFailed, Scope
from targets.cloud import layers
from targets.cloud.catalogue import NewImage, NewServer, Server, Volume, operation
from targets.cloud.layers import Found, Layer
from targets.cloud.records import (
    delete,
    expect,
    find,
    made,
    present,
    server_id,
    server_record,
    until,
    until_gone,
    volume_id,
)

_TASK_STATE = "OS-EXT-STS:task_state"
_PUBLIC_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDQ plan"
_POWER_STATES = {0: "nostate", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed"}


@operation("server.create")
def create_server(
    scope: Scope,
    name: NewServer,
    flavor: str = "m1.tiny",
    image: str = "cirros",
    wait: str = "ACTIVE",
    volumes: tuple[Volume, ...] = (),
    delete_on_termination: bool = False,
    networks: str = "auto",
    key: str = "",
) -> dict[str, Any]:
    """Boot a server; with ``wait``, until it has that status ("" does not wait).

    ``volumes`` are attached at boot, and deleted with it when ``delete_on_termination``. ``key`` is
    a key pair, which is made where there is none of that name.
    """
    image_id = _image_id(scope.client, image)
    request: dict[str, Any] = {
        "name": name,
        "flavor_id": flavor_id(scope.client, flavor),
        "image_id": image_id,
        "networks": networks,
    }
    if key:
        if scope.client.compute.find_keypair(key) is None:
            scope.client.compute.create_keypair(name=key, public_key=_PUBLIC_KEY)
        request["key_name"] = key
    if volumes:
        request["block_device_mapping"] = [
            _disk("image", image_id, "local", 0, True),
            *(
                _disk("volume", volume_id(scope, v), "volume", -1, delete_on_termination)
                for v in volumes
            ),
        ]
    server = scope.client.compute.create_server(**request)
    scope.made[made("servers", name)] = server.id
    if wait:
        wait_server(scope, name, wait)
    return {"id": server.id}


# Kept: a cloud's flavors and images outlive what a plan does.
@functools.lru_cache
def flavor_id(client: Any, name: str) -> str:
    """Return the id of the flavor of that name."""
    return str(client.compute.find_flavor(name, ignore_missing=False).id)


@functools.lru_cache
def _image_id(client: Any, name: str) -> str:
    return str(client.image.find_image(name, ignore_missing=False).id)


def _disk(source: str, uuid: str, destination: str, index: int, delete: bool) -> dict[str, Any]:
    return {
        "source_type": source,
        "uuid": uuid,
        "destination_type": destination,
        "boot_index": index,
        "delete_on_termination": delete,
    }


@operation("server.reboot")
def reboot_server(
    scope: Scope, server: Server, type: str = "SOFT", wait: str = ""
) -> dict[str, Any]:
    """Reboot a server, SOFT or HARD; with ``wait``, until it has that status and no task."""
    return _act(scope, server, wait, reboot={"type": type})


@operation("server.start")
def start_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Start a stopped server."""
    return _act(scope, server, wait, **{"os-start": None})


@operation("server.stop")
def stop_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Stop a running server."""
    return _act(scope, server, wait, **{"os-stop": None})


@operation("server.pause")
def pause_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Pause a running server."""
    return _act(scope, server, wait, pause=None)


@operation("server.unpause")
def unpause_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Let a paused server go on."""
    return _act(scope, server, wait, unpause=None)


@operation("server.snapshot")
def snapshot_server(scope: Scope, server: Server, image: NewImage) -> dict[str, Any]:
    """Have an image made of a server's root disk."""
    key = server_id(scope, server)
    made_image = scope.client.compute.create_server_image(key, image)
    scope.made[made("images", image)] = made_image.id
    return {"server": key, "id": made_image.id}


@operation("server.rebuild")
def rebuild_server(
    scope: Scope, server: Server, image: str = "cirros", wait: str = ""
) -> dict[str, Any]:
    """Have a server's guest made anew from an image."""
    key = server_id(scope, server)
    scope.client.compute.rebuild_server(key, image=_image_id(scope.client, image), name=server)
    if wait:
        wait_server(scope, server, wait)
    return {"status": 202, "server": key}


@operation("server.shelve")
def shelve_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Shut a server off, and keep its root disk as an image."""
    return _act(scope, server, wait, shelve=None)


@operation("server.offload")
def offload_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Remove a shelved server from its host."""
    return _act(scope, server, wait, shelveOffload=None)


@operation("server.unshelve")
def unshelve_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Bring a shelved server again."""
    return _act(scope, server, wait, unshelve=None)


@operation("server.restore")
def restore_server(scope: Scope, server: Server, wait: str = "") -> dict[str, Any]:
    """Have a server back that was deleted softly."""
    return _act(scope, server, wait, restore=None)


@operation("server.force_delete")
def force_delete_server(scope: Scope, server: Server) -> dict[str, Any]:
    """Delete a server for good, also one that is deleted softly."""
    try:
        return _act(scope, server, "", forceDelete=None)
    except OperationFailed as error:
        if error.status != 404:
            raise
        return {"status": 404, "server": find(scope, scope.client.compute, "servers", server)}


@operation("server.delete")
def delete_server(
    scope: Scope,
    server: Server,
    by: Literal["owner", "administrator"] = "owner",
    layer: Layer = "",
    found: Found = "clouds.yaml",
) -> dict[str, Any]:
    """Ask for a server's deletion; that it is gone already (404) is as good as 204.

    With ``layer`` through that layer of the SDK, which has ``found`` the cloud so.
    """
    if layer:
        asked = server_id(scope, server)
        layers.client(scope, layer, found).delete("server", asked)
        return {"status": 204, "server": asked}
    client = scope.client if by == "owner" else scope.client.administrator()
    key = find(scope, scope.client.compute, "servers", server)
    return {"status": delete(client.compute, "servers", key), "server": key}


@operation("server.wait", asserts=True)
def wait_server(scope: Scope, server: Server, status: str) -> dict[str, Any]:
    """Wait until a server has this status and no task; fail as soon as it ends in ERROR instead."""
    found = until(
        scope,
        f"server {server} to become {status}",
        lambda: present(server_record(scope, server), f"server {server}"),
        lambda s: s["status"] == "ERROR" or (s["status"] == status and s[_TASK_STATE] is None),
        lambda s: f"{s['status']}, task {s[_TASK_STATE]}",
    )
    if found["status"] != status:
        fault = found.get("fault", {}).get("message", "no fault recorded")
        raise ExpectationFailed(f"server {server} is ERROR, not {status}: {fault}")
    return {"status": status}


@operation("server.wait_gone", asserts=True)
def wait_server_gone(scope: Scope, server: Server) -> dict[str, Any]:
    """Wait until a server is not found."""
    until_gone(scope, f"server {server}", lambda: server_record(scope, server))
    return {"status": 404}


@operation("server.expect", asserts=True)
def expect_server(
    scope: Scope,
    server: Server,
    status: str | None = None,
    task_state: str | None = None,
    vm_state: str | None = None,
    power_state: str | None = None,
    host: str | None = None,
    exists: bool | None = None,
    fault: str | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Assert what a server looks like now; the word ``none`` stands for no task, no host.

    ``power_state`` is nostate, running, paused, shutdown or crashed; ``fault`` is a part of what
    its last fault says, ``key`` its key pair.
    """
    found = server_record(scope, server)
    if exists is not None:
        expect(f"server {server}", exists=(exists, found is not None))
    if found is None:
        if exists is None:
            raise ExpectationFailed(f"server {server} does not exist")
        return {"exists": False}
    actual = {
        "status": found["status"],
        "task_state": found[_TASK_STATE] or "none",
        "vm_state": found["OS-EXT-STS:vm_state"],
        "power_state": _POWER_STATES.get(found["OS-EXT-STS:power_state"], "unknown"),
        "host": found.get("OS-EXT-SRV-ATTR:host") or "none",
        "key": found.get("key_name") or "none",
    }
    wanted = {
        "status": status,
        "task_state": task_state,
        "vm_state": vm_state,
        "power_state": power_state,
        "host": host,
        "key": key,
    }
    expect(
        f"server {server}",
        **{name: (value, actual[name]) for name, value in wanted.items() if value is not None},
    )
    said = found.get("fault", {}).get("message", "")
    if fault and fault not in said:
        raise ExpectationFailed(f"server {server}: expected a fault `{fault}`, found `{said}`")
    return actual


def _act(scope: Scope, server: str, wait: str, **action: Any) -> dict[str, Any]:
    """Ask for an action in the words of the compute API: ``reboot={"type": "SOFT"}``; then wait.

    Not by the SDK's method for it: that makes a whole server first, and takes twice as long.
    """
    from openstack.exceptions import raise_from_response

    key = server_id(scope, server)
    response = scope.client.compute.post(f"/servers/{key}/action", json=action)
    raise_from_response(response)
    if wait:
        wait_server(scope, server, wait)
    return {"status": response.status_code, "server": key}
