"""What a user does with volumes, and with what connects them to servers."""

from __future__ import annotations

from typing import Any

from chaos.operation import Scope
from targets.cloud import layers
from targets.cloud.catalogue import NewVolume, Server, Volume, operation
from targets.cloud.layers import Found, Layer
from targets.cloud.records import (
    delete,
    expect,
    find,
    made,
    present,
    server_id,
    until,
    until_gone,
    volume_id,
    volume_record,
)


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
    on, key = server_id(scope, server), volume_id(scope, volume)
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

    on, key = server_id(scope, server), volume_id(scope, volume)
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
    on, key = server_id(scope, server), volume_id(scope, volume)
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
        asked = volume_id(scope, volume)
        layers.client(scope, layer, found).delete("volume", asked)
        return {"status": 202, "volume": asked}
    key = find(scope, scope.client.block_storage, "volumes", volume)
    return {"status": delete(scope.client.block_storage, "volumes", key), "volume": key}


@operation("volume.wait", asserts=True)
def wait_volume(
    scope: Scope, volume: Volume, status: str, layer: Layer = "", found: Found = "clouds.yaml"
) -> dict[str, Any]:
    """Wait until a volume has this status."""

    def look() -> str:
        if layer:
            seen = layers.client(scope, layer, found).status(volume_id(scope, volume))
            return present(seen, f"volume {volume}")
        return str(present(volume_record(scope, volume), f"volume {volume}")["status"])

    what = f"volume {volume} to become {status}"
    return {"status": until(scope, what, look, lambda seen: seen == status, str)}


@operation("volume.wait_detached", asserts=True)
def wait_volume_detached(
    scope: Scope, server: Server, volume: Volume, layer: Layer = "", found: Found = "clouds.yaml"
) -> dict[str, Any]:
    """Wait until a server has a volume no more, as the compute service tells it."""
    on, key = server_id(scope, server), volume_id(scope, volume)

    def look() -> list[str]:
        if layer:
            return layers.client(scope, layer, found).attached(on)
        return [one.id for one in scope.client.compute.volume_attachments(on)]

    kept = until(
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
    until_gone(scope, f"volume {volume}", lambda: volume_record(scope, volume))
    return {"status": 404}


@operation("volume.expect", asserts=True)
def expect_volume(
    scope: Scope, volume: Volume, status: str | None = None, exists: bool | None = None
) -> dict[str, Any]:
    """Assert a volume's status, or whether it exists."""
    found = volume_record(scope, volume)
    if exists is not None:
        expect(f"volume {volume}", exists=(exists, found is not None))
    if status is not None:
        expect(f"volume {volume}", status=(status, found["status"] if found else "gone"))
    return {"exists": found is not None, "status": found["status"] if found else None}
