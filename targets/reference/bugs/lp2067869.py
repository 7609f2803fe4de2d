"""A server's delete destroys a volume that was detached just before.

Launchpad bug 2067869. The API hands the compute the block devices that it read when the delete was
asked for. A detach that was under way then has given the volume back by now, and removed the block
device after that; the compute works with the list all the same and, as the volume was to end with
the server, deletes a volume that is its user's again. Seen by *no volume is deleted that its user
did not ask to delete* (5).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from targets.reference.nova import rpc
from targets.reference.nova.block_device import BlockDevice, DeviceState
from targets.reference.nova.compute import building
from targets.reference.nova.compute.building import Builder
from targets.reference.nova.instance import Instance

_stale: dict[str, list[BlockDevice]] = {}
_terminate = Builder.terminate
_devices_now = building.devices_to_release


def _send_list(instance: Instance) -> None:
    found = BlockDevice.find(instance.cell, instance=instance.uuid)
    devices = [asdict(device) for device in found]
    rpc._cast(instance.host, "terminate", instance, devices=devices)


def _take_list(self: Builder, instance: str, devices: list[dict[str, Any]]) -> None:
    # The compute of old knew no mark that a detach had begun.
    _stale[instance] = [
        BlockDevice(**{**device, "state": DeviceState.ATTACHED}) for device in devices
    ]
    _terminate(self, instance)


def _devices_to_release(instance: Instance) -> list[BlockDevice]:
    return _stale.pop(instance.uuid, None) or _devices_now(instance)


def apply() -> None:
    """Send the list along with the call, and believe it."""
    rpc.ComputeRpc.terminate = staticmethod(_send_list)  # type: ignore[method-assign]
    Builder.terminate = _take_list  # type: ignore[assignment]
    building.devices_to_release = _devices_to_release
