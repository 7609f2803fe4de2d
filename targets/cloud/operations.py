"""What a user of a compute cloud does, through the real ``openstacksdk``.

A plan calls servers and volumes by names of its own; the ids that the cloud gave are kept in
``scope.made``, by kind and name. A thing whose creation was never answered is looked for by its
name among all that the user has; when it is not there it does not exist.

Waits poll the interface, as clients do, and end at the scope's deadline; a look whose answer was
lost is repeated until then. What only looks does so by plain GET, through the SDK's lowest layer:
making its objects costs more than the whole round trip.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Operations,
    Scope,
)
from chaos.words import Word
from targets.cloud import layers
from targets.cloud.client import acting_as
from targets.cloud.layers import Found, Layer
from targets.cloud.operator import GuestFate

T = TypeVar("T")

Server = Annotated[str, Word("server")]
NewServer = Annotated[str, Word("server", makes=True)]
Volume = Annotated[str, Word("volume")]
NewVolume = Annotated[str, Word("volume", makes=True)]
Image = Annotated[str, Word("image")]
NewImage = Annotated[str, Word("image", makes=True)]

_TASK_STATE = "OS-EXT-STS:task_state"
_PUBLIC_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDQ plan"
_POWER_STATES = {0: "nostate", 1: "running", 3: "paused", 4: "shutdown", 6: "crashed"}

OPERATIONS = Operations()


def operation(
    name: str, *, asserts: bool = False, strikes: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function, run on behalf of its scope's actor."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(scope: Scope, *positional: Any, **arguments: Any) -> Any:
            with acting_as(scope.request_id, scope.deadline_s):
                return function(scope, *positional, **arguments)

        return OPERATIONS.named(name, asserts=asserts, strikes=strikes)(run)

    return register


# ------------------------------------------------------------------ servers


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
                _disk("volume", _volume_id(scope, v), "volume", -1, delete_on_termination)
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
        return {"status": 404, "server": _find(scope, scope.client.compute, "servers", server)}


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
    key = _find(scope, scope.client.compute, "servers", server)
    return {"status": _delete(client.compute, "servers", key), "server": key}


@operation("server.wait", asserts=True)
def wait_server(scope: Scope, server: Server, status: str) -> dict[str, Any]:
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


@operation("server.wait_gone", asserts=True)
def wait_server_gone(scope: Scope, server: Server) -> dict[str, Any]:
    """Wait until a server is not found."""
    _until_gone(scope, f"server {server}", lambda: _server(scope, server))
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
    _expect(
        f"server {server}",
        **{name: (value, actual[name]) for name, value in wanted.items() if value is not None},
    )
    said = found.get("fault", {}).get("message", "")
    if fault and fault not in said:
        raise ExpectationFailed(f"server {server}: expected a fault `{fault}`, found `{said}`")
    return actual


# ------------------------------------------------------------------ volumes


@operation("volume.create")
def create_volume(
    scope: Scope, name: NewVolume, size: int = 1, multiattach: bool = False
) -> dict[str, Any]:
    """Create an empty volume of ``size`` GiB and wait until it is available.

    With ``multiattach`` several servers may have it at a time.
    """
    volume = scope.client.block_storage.create_volume(
        name=name, size=size, is_multiattach=multiattach
    )
    scope.made[made("volumes", name)] = volume.id
    wait_volume(scope, name, "available")
    return {"id": volume.id}


@operation("volume.attach")
def attach_volume(
    scope: Scope,
    server: Server,
    volume: Volume,
    delete_on_termination: bool = False,
    wait: str = "in-use",
) -> dict[str, Any]:
    """Attach a volume to a server; with ``wait``, until the volume has that status."""
    on, key = server_id(scope, server), _volume_id(scope, volume)
    scope.client.compute.create_volume_attachment(
        on, volume_id=key, delete_on_termination=delete_on_termination
    )
    if wait:
        wait_volume(scope, volume, wait)
    return {"status": 200, "server": on, "volume": key}


@operation("volume.detach")
def detach_volume(
    scope: Scope,
    server: Server,
    volume: Volume,
    wait: str = "",
    layer: Layer = "",
    found: Found = "clouds.yaml",
) -> dict[str, Any]:
    """Ask for a volume to be detached; with ``wait``, until the volume has that status."""
    from openstack.block_storage.v3.volume import Volume as SdkVolume

    on, key = server_id(scope, server), _volume_id(scope, volume)
    if layer:
        layers.client(scope, layer, found).detach(on, key)
    else:
        # With a mere id the SDK looks for the server first, and takes one that is gone for the
        # volume.
        known = SdkVolume.new(id=key)
        scope.client.compute.delete_volume_attachment(on, known, ignore_missing=False)
    if wait:
        wait_volume(scope, volume, wait)
    return {"status": 202, "server": on, "volume": key}


@operation("volume.keep")
def keep_volume(
    scope: Scope, server: Server, volume: Volume, delete_on_termination: bool = False
) -> dict[str, Any]:
    """Change whether an attached volume ends with its server."""
    on, key = server_id(scope, server), _volume_id(scope, volume)
    scope.client.compute.update_volume_attachment(
        on, key, delete_on_termination=delete_on_termination, volume_id=key
    )
    return {"status": 202, "server": on, "volume": key}


@operation("volume.delete")
def delete_volume(
    scope: Scope, volume: Volume, layer: Layer = "", found: Found = "clouds.yaml"
) -> dict[str, Any]:
    """Ask for a volume's deletion; that it is gone already (404) is as good as 202."""
    if layer:
        asked = _volume_id(scope, volume)
        layers.client(scope, layer, found).delete("volume", asked)
        return {"status": 202, "volume": asked}
    key = _find(scope, scope.client.block_storage, "volumes", volume)
    return {"status": _delete(scope.client.block_storage, "volumes", key), "volume": key}


@operation("volume.wait", asserts=True)
def wait_volume(
    scope: Scope, volume: Volume, status: str, layer: Layer = "", found: Found = "clouds.yaml"
) -> dict[str, Any]:
    """Wait until a volume has this status."""

    def look() -> str:
        if layer:
            seen = layers.client(scope, layer, found).status(_volume_id(scope, volume))
            return _present(seen, f"volume {volume}")
        return str(_present(_volume(scope, volume), f"volume {volume}")["status"])

    what = f"volume {volume} to become {status}"
    return {"status": _until(scope, what, look, lambda seen: seen == status, str)}


@operation("volume.wait_detached", asserts=True)
def wait_volume_detached(
    scope: Scope, server: Server, volume: Volume, layer: Layer = "", found: Found = "clouds.yaml"
) -> dict[str, Any]:
    """Wait until a server has a volume no more, as the compute service tells it."""
    on, key = server_id(scope, server), _volume_id(scope, volume)

    def look() -> list[str]:
        if layer:
            return layers.client(scope, layer, found).attached(on)
        return [one.id for one in scope.client.compute.volume_attachments(on)]

    kept = _until(
        scope,
        f"volume {volume} to leave server {server}",
        look,
        lambda found: key not in found,
        lambda found: f"attached still, with {len(found)} in all",
    )
    return {"attachments": len(kept)}


@operation("volume.wait_gone", asserts=True)
def wait_volume_gone(scope: Scope, volume: Volume) -> dict[str, Any]:
    """Wait until a volume is not found."""
    _until_gone(scope, f"volume {volume}", lambda: _volume(scope, volume))
    return {"status": 404}


@operation("volume.expect", asserts=True)
def expect_volume(
    scope: Scope, volume: Volume, status: str | None = None, exists: bool | None = None
) -> dict[str, Any]:
    """Assert a volume's status, or whether it exists."""
    found = _volume(scope, volume)
    if exists is not None:
        _expect(f"volume {volume}", exists=(exists, found is not None))
    if status is not None:
        _expect(f"volume {volume}", status=(status, found["status"] if found else "gone"))
    return {"exists": found is not None, "status": found["status"] if found else None}


# ------------------------------------------------------------------ images


@operation("image.wait", asserts=True)
def wait_image(scope: Scope, image: Image, status: str = "active") -> dict[str, Any]:
    """Wait until an image has this status."""
    found = _until(
        scope,
        f"image {image} to become {status}",
        lambda: _present(_image(scope, image), f"image {image}"),
        lambda i: i["status"] == status,
        lambda i: str(i["status"]),
    )
    return {"status": found["status"]}


@operation("image.expect", asserts=True)
def expect_image(
    scope: Scope, image: Image, status: str | None = None, exists: bool | None = None
) -> dict[str, Any]:
    """Assert an image's status, or whether it exists."""
    found = _image(scope, image)
    if exists is not None:
        _expect(f"image {image}", exists=(exists, found is not None))
    if status is not None:
        _expect(f"image {image}", status=(status, found["status"] if found else "gone"))
    return {"exists": found is not None, "status": found["status"] if found else None}


@operation("image.delete")
def delete_image(scope: Scope, image: Image) -> dict[str, Any]:
    """Delete an image; that it is gone already (404) is as good as 204."""
    key = _find(scope, scope.client.image, "images", image)
    return {"status": _delete(scope.client.image, "images", key), "image": key}


# ------------------------------------------------------------------ beside the interface


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


# ------------------------------------------------------------------ shared


def _find(scope: Scope, proxy: Any, collection: str, name: str) -> str | None:
    """Return the id of what the plan calls ``name``; None when there is no such thing."""
    key = made(collection, name)
    if key not in scope.made:
        for found in listed(proxy, collection):
            if name in (found["name"], found["id"]):
                scope.made[key] = found["id"]
                break
    return scope.made.get(key)


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


def server_status(scope: Scope, server: str) -> str | None:
    """A server's status, ``SOFT_DELETED`` while it can still be restored; None when it is gone."""
    with acting_as(scope.request_id, scope.deadline_s):
        found = _server(scope, server)
    return None if found is None else str(found["status"])


def made(collection: str, name: str) -> str:
    """Under what ``scope.made`` keeps an id: a server and a volume may have the same name."""
    return f"{collection}/{name}"


def server_id(scope: Scope, name: str) -> str:
    """Return the id of the server that the plan calls so."""
    return _present(_find(scope, scope.client.compute, "servers", name), f"server {name}")


def _volume_id(scope: Scope, name: str) -> str:
    return _present(_find(scope, scope.client.block_storage, "volumes", name), f"volume {name}")


def _delete(proxy: Any, collection: str, key: str | None) -> int:
    """Ask for it; the status: that it is gone already (404) is no failure."""
    from openstack.exceptions import raise_from_response

    if key is None:
        return 404
    response = proxy.delete(f"/{collection}/{key}")
    if response.status_code != 404:
        raise_from_response(response)
    return int(response.status_code)


def _server(scope: Scope, name: str) -> dict[str, Any] | None:
    return _show(scope, scope.client.compute, "servers", name)


def _volume(scope: Scope, name: str) -> dict[str, Any] | None:
    return _show(scope, scope.client.block_storage, "volumes", name)


def _show(scope: Scope, proxy: Any, collection: str, name: str) -> dict[str, Any] | None:
    from openstack.exceptions import raise_from_response

    key = _find(scope, proxy, collection, name)
    if key is None:
        return None
    response = proxy.get(f"/{collection}/{key}")
    if response.status_code == 404:
        return None
    raise_from_response(response)
    shown: dict[str, Any] = response.json()
    # The image service shows an image as it is, the others wrap what they show.
    found: dict[str, Any] = shown.get(collection.removesuffix("s"), shown)
    return found


def _image(scope: Scope, name: str) -> dict[str, Any] | None:
    return _show(scope, scope.client.image, "images", name)


def listed(proxy: Any, collection: str) -> list[dict[str, Any]]:
    """Return id and name, at least, of all ``servers``, ``volumes`` or ``ports`` of the user."""
    from openstack.exceptions import raise_from_response

    response = proxy.get(f"/{collection}")
    raise_from_response(response)
    found: list[dict[str, Any]] = response.json()[collection]
    return found


def _present(found: T | None, what: str) -> T:
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
    look: Callable[[], T],
    reached: Callable[[T], bool],
    describe: Callable[[Any], str],
) -> T:
    """Look until it is ``reached``; where an answer is lost, look again.

    Raises:
        ExpectationFailed: by the deadline it was not.
        OperationIndeterminate: by the deadline there was no answer at all.
    """
    deadline = time.monotonic() + scope.deadline_s
    last: str | None = None
    while True:
        left_s = deadline - time.monotonic()
        try:
            with acting_as(scope.request_id, max(left_s, scope.poll_s)):
                found = look()
        except OperationIndeterminate:
            if last is None and time.monotonic() >= deadline:
                raise
        else:
            if reached(found):
                return found
            last = describe(found)
        if time.monotonic() >= deadline:
            raise ExpectationFailed(f"waited {scope.deadline_s:g} s for {what}; it is {last}")
        scope.sleep(scope.poll_s)


def _until_gone(scope: Scope, what: str, look: Callable[[], dict[str, Any] | None]) -> None:
    _until(
        scope,
        f"{what} to go",
        look,
        lambda found: found is None,
        lambda found: f"{found['status']} still",
    )
