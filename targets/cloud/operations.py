"""What a user of a compute cloud does, through the real ``openstacksdk``.

A plan calls servers and volumes by names of its own; the ids that the cloud gave are kept in
``scope.made``. A name that was not made by the plan is taken as an id.

Waits poll the interface, as clients do, and end at the scope's deadline. What only looks does so by
plain GET, through the SDK's lowest layer: making its objects costs more than the whole round trip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from chaos.operation import ExpectationFailed, OperationFailed, Operations, Scope
from targets.cloud.client import acting_as

POLL_S = 0.005
_TASK_STATE = "OS-EXT-STS:task_state"
_POWER_STATES = {0: "nostate", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed"}

OPERATIONS = Operations()


def operation(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function, run on behalf of its scope's actor."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(scope: Scope, *positional: Any, **arguments: Any) -> Any:
            with acting_as(scope.request_id, scope.deadline_s):
                return function(scope, *positional, **arguments)

        return OPERATIONS.named(name)(run)

    return register


# ------------------------------------------------------------------ servers


@operation("server.create")
def create_server(
    scope: Scope,
    name: str,
    flavor: str = "m1.tiny",
    image: str = "cirros",
    wait: str = "ACTIVE",
    volumes: tuple[str, ...] = (),
    delete_on_termination: bool = False,
    networks: str = "auto",
) -> dict[str, Any]:
    """Boot a server; with ``wait``, until it has that status ("" does not wait).

    ``volumes`` are attached at boot, and deleted with it when ``delete_on_termination``.
    """
    image_id = _image_id(scope.client, image)
    request: dict[str, Any] = {
        "name": name,
        "flavor_id": _flavor_id(scope.client, flavor),
        "image_id": image_id,
        "networks": networks,
    }
    if volumes:
        request["block_device_mapping"] = [
            _disk("image", image_id, "local", 0, True),
            *(_disk("volume", _id(scope, v), "volume", -1, delete_on_termination) for v in volumes),
        ]
    server = scope.client.compute.create_server(**request)
    scope.made[name] = server.id
    if wait:
        wait_server(scope, name, wait)
    return {"id": server.id}


# Kept: a cloud's flavors and images outlive what a plan does.
@functools.lru_cache
def _flavor_id(client: Any, name: str) -> str:
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
def reboot_server(scope: Scope, server: str, type: str = "SOFT", wait: str = "") -> dict[str, Any]:
    """Reboot a server, SOFT or HARD; with ``wait``, until it has that status and no task."""
    scope.client.compute.reboot_server(_id(scope, server), type)
    if wait:
        wait_server(scope, server, wait)
    return {"status": 202}


@operation("server.start")
def start_server(scope: Scope, server: str, wait: str = "") -> dict[str, Any]:
    """Start a stopped server."""
    scope.client.compute.start_server(_id(scope, server))
    if wait:
        wait_server(scope, server, wait)
    return {"status": 202}


@operation("server.stop")
def stop_server(scope: Scope, server: str, wait: str = "") -> dict[str, Any]:
    """Stop a running server."""
    scope.client.compute.stop_server(_id(scope, server))
    if wait:
        wait_server(scope, server, wait)
    return {"status": 202}


@operation("server.delete")
def delete_server(scope: Scope, server: str) -> dict[str, Any]:
    """Ask for a server's deletion; that it is gone already (404) is as good as 204."""
    return _deleted(scope.client.compute.delete_server, _id(scope, server), 204)


@operation("server.wait")
def wait_server(scope: Scope, server: str, status: str) -> dict[str, Any]:
    """Wait until a server has this status and no task; fail as soon as it ends in ERROR instead."""
    found = _until(
        scope,
        f"server {server} to become {status}",
        lambda: _present(_server(scope, server), f"server {server}"),
        lambda s: s["status"] == "ERROR" or (s["status"] == status and s[_TASK_STATE] is None),
        lambda s: f"{s['status']}, task {s[_TASK_STATE]}",
    )
    if found["status"] != status:
        fault = found.get("fault", {}).get("message", "no fault recorded")
        raise ExpectationFailed(f"server {server} is ERROR, not {status}: {fault}")
    return {"status": status}


@operation("server.wait_gone")
def wait_server_gone(scope: Scope, server: str) -> dict[str, Any]:
    """Wait until a server is not found."""
    _until_gone(scope, f"server {server}", lambda: _server(scope, server))
    return {"status": 404}


@operation("server.expect")
def expect_server(
    scope: Scope,
    server: str,
    status: str | None = None,
    task_state: str | None = None,
    vm_state: str | None = None,
    power_state: str | None = None,
    host: str | None = None,
    exists: bool | None = None,
) -> dict[str, Any]:
    """Assert what a server looks like now; the word ``none`` stands for no task, no host.

    ``power_state`` is nostate, running, paused, shutdown or crashed.
    """
    found = _server(scope, server)
    if exists is not None:
        _expect(f"server {server}", exists=(exists, found is not None))
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
    }
    wanted = {
        "status": status,
        "task_state": task_state,
        "vm_state": vm_state,
        "power_state": power_state,
        "host": host,
    }
    _expect(
        f"server {server}",
        **{name: (value, actual[name]) for name, value in wanted.items() if value is not None},
    )
    return actual


# ------------------------------------------------------------------ volumes


@operation("volume.create")
def create_volume(scope: Scope, name: str, size: int = 1) -> dict[str, Any]:
    """Create an empty volume of ``size`` GiB and wait until it is available."""
    volume = scope.client.block_storage.create_volume(name=name, size=size)
    scope.made[name] = volume.id
    wait_volume(scope, name, "available")
    return {"id": volume.id}


@operation("volume.attach")
def attach_volume(
    scope: Scope,
    server: str,
    volume: str,
    delete_on_termination: bool = False,
    wait: str = "in-use",
) -> dict[str, Any]:
    """Attach a volume to a server; with ``wait``, until the volume has that status."""
    scope.client.compute.create_volume_attachment(
        _id(scope, server),
        volume_id=_id(scope, volume),
        delete_on_termination=delete_on_termination,
    )
    if wait:
        wait_volume(scope, volume, wait)
    return {"status": 200}


@operation("volume.detach")
def detach_volume(scope: Scope, server: str, volume: str, wait: str = "") -> dict[str, Any]:
    """Ask for a volume to be detached; with ``wait``, until the volume has that status."""
    scope.client.compute.delete_volume_attachment(
        _id(scope, server), _id(scope, volume), ignore_missing=False
    )
    if wait:
        wait_volume(scope, volume, wait)
    return {"status": 202}


@operation("volume.delete")
def delete_volume(scope: Scope, volume: str) -> dict[str, Any]:
    """Ask for a volume's deletion; that it is gone already (404) is as good as 202."""
    return _deleted(scope.client.block_storage.delete_volume, _id(scope, volume), 202)


@operation("volume.wait")
def wait_volume(scope: Scope, volume: str, status: str) -> dict[str, Any]:
    """Wait until a volume has this status."""
    found = _until(
        scope,
        f"volume {volume} to become {status}",
        lambda: _present(_volume(scope, volume), f"volume {volume}"),
        lambda v: v["status"] == status,
        lambda v: str(v["status"]),
    )
    return {"status": found["status"]}


@operation("volume.wait_gone")
def wait_volume_gone(scope: Scope, volume: str) -> dict[str, Any]:
    """Wait until a volume is not found."""
    _until_gone(scope, f"volume {volume}", lambda: _volume(scope, volume))
    return {"status": 404}


@operation("volume.expect")
def expect_volume(
    scope: Scope, volume: str, status: str | None = None, exists: bool | None = None
) -> dict[str, Any]:
    """Assert a volume's status, or whether it exists."""
    found = _volume(scope, volume)
    if exists is not None:
        _expect(f"volume {volume}", exists=(exists, found is not None))
    if status is not None:
        _expect(f"volume {volume}", status=(status, found["status"] if found else "gone"))
    return {"exists": found is not None, "status": found["status"] if found else None}


# ------------------------------------------------------------------ shared


def _id(scope: Scope, name: str) -> str:
    return scope.made.get(name, name)


def _deleted(delete: Callable[..., Any], key: str, status: int) -> dict[str, Any]:
    from openstack.exceptions import NotFoundException

    try:
        delete(key, ignore_missing=False)
    except NotFoundException:
        return {"status": 404}
    return {"status": status}


def _server(scope: Scope, name: str) -> dict[str, Any] | None:
    return _show(scope.client.compute, f"/servers/{_id(scope, name)}", "server")


def _volume(scope: Scope, name: str) -> dict[str, Any] | None:
    return _show(scope.client.block_storage, f"/volumes/{_id(scope, name)}", "volume")


def _show(proxy: Any, path: str, kind: str) -> dict[str, Any] | None:
    from openstack.exceptions import raise_from_response

    response = proxy.get(path)
    if response.status_code == 404:
        return None
    raise_from_response(response)
    found: dict[str, Any] = response.json()[kind]
    return found


def ids(proxy: Any, collection: str) -> list[str]:
    """Return the ids of all ``servers``, ``volumes`` or ``ports`` that the user owns."""
    from openstack.exceptions import raise_from_response

    response = proxy.get(f"/{collection}")
    raise_from_response(response)
    return [found["id"] for found in response.json()[collection]]


def _present(found: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if found is None:
        raise OperationFailed(f"{what} does not exist", 404)
    return found


def _expect(what: str, **checks: tuple[Any, Any]) -> None:
    wrong = [
        f"{name} is {actual!r}, expected {wanted!r}"
        for name, (wanted, actual) in checks.items()
        if wanted != actual
    ]
    if wrong:
        raise ExpectationFailed(f"{what}: {'; '.join(wrong)}")


def _until(
    scope: Scope,
    what: str,
    look: Callable[[], Any],
    reached: Callable[[Any], bool],
    describe: Callable[[Any], str],
) -> Any:
    polls = Retrying(
        stop=stop_after_delay(scope.deadline_s),
        wait=wait_fixed(POLL_S),
        retry=retry_if_result(lambda found: not reached(found)),
    )
    try:
        return polls(look)
    except RetryError as error:
        last = describe(error.last_attempt.result())
        message = f"waited {scope.deadline_s:g} s for {what}; it is {last}"
        raise ExpectationFailed(message) from None


def _until_gone(scope: Scope, what: str, look: Callable[[], dict[str, Any] | None]) -> None:
    _until(
        scope,
        f"{what} to go",
        look,
        lambda found: found is None,
        lambda found: f"{found['status']} still",
    )
