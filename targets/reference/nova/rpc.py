"""How the parts of the compute service call each other over the bus."""

from __future__ import annotations

from functools import cache
from typing import Any

from targets.reference import config
from targets.reference.bus import Bus, RpcClient
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance

RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses before work that failed is tried again; then every two seconds."""


def retry_delay_s(attempt: int) -> float:
    """Return how long to wait before attempt number ``attempt`` + 1."""
    return RETRY_S[attempt] if attempt < len(RETRY_S) else 2.0


@cache
def bus() -> Bus:
    """Return this process's connection to the broker."""
    found = config.current()
    return Bus(found.bus, found.bus_token)


@cache
def _client(topic: str) -> RpcClient:
    return RpcClient(bus(), topic)


class ConductorRpc:
    """Calls the conductor."""

    @staticmethod
    def build_instance(instance: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have a build request carried out; ``attempt`` above 0 may find it half done."""
        arguments = {"instance": instance, "attempt": attempt}
        _client("conductor").cast("", "build_instance", delay_s=delay_s, **arguments)

    @staticmethod
    def recover() -> None:
        """Have every build that stopped half-way taken up again."""
        _client("conductor").cast("", "recover")


class SchedulerRpc:
    """Calls the scheduler."""

    @staticmethod
    def select_hosts(request: BuildRequest) -> list[str]:
        """Name the hosts that have room for a server, the best first.

        Raises:
            CallLost: the scheduler died meanwhile; nothing was changed, so ask again.
        """
        flavor = {"vcpus": request.vcpus, "ram": request.ram, "disk": request.disk}
        hosts: list[str] = _client("scheduler").call("", "select_hosts", **flavor)
        return hosts


class ComputeRpc:
    """Calls the compute of an instance's host. All casts: they wait for a dead compute."""

    @staticmethod
    def build(instance: Instance) -> None:
        """Have the instance built on the node that was chosen for it."""
        _cast(instance.node, "build", instance)

    @staticmethod
    def terminate(instance: Instance) -> None:
        """Have everything of the instance removed, its record last."""
        _cast(instance.host, "terminate", instance)

    @staticmethod
    def reboot(instance: Instance, kind: str) -> None:
        """Have the guest rebooted, SOFT or HARD."""
        _cast(instance.host, "reboot", instance, kind=kind)

    @staticmethod
    def start(instance: Instance) -> None:
        """Have the guest started."""
        _cast(instance.host, "start", instance)

    @staticmethod
    def stop(instance: Instance) -> None:
        """Have the guest shut down."""
        _cast(instance.host, "stop", instance)

    @staticmethod
    def pause(instance: Instance) -> None:
        """Have the guest's processors stopped."""
        _cast(instance.host, "pause", instance)

    @staticmethod
    def unpause(instance: Instance) -> None:
        """Have the guest go on."""
        _cast(instance.host, "unpause", instance)

    @staticmethod
    def snapshot(instance: Instance) -> None:
        """Have an image, whose record is there, given the data of the guest's root disk."""
        _cast(instance.host, "snapshot", instance)

    @staticmethod
    def rebuild(instance: Instance) -> None:
        """Have the guest made anew."""
        _cast(instance.host, "rebuild", instance)

    @staticmethod
    def soft_delete(instance: Instance) -> None:
        """Have the guest shut off, and kept for as long as its user may want it back."""
        _cast(instance.host, "soft_delete", instance)

    @staticmethod
    def restore(instance: Instance) -> None:
        """Have the guest of a server that was deleted softly started."""
        _cast(instance.host, "restore", instance)

    @staticmethod
    def attach_volume(instance: Instance, device: str) -> None:
        """Have a block device connected."""
        _cast(instance.host, "attach_volume", instance, device=device)

    @staticmethod
    def detach_volume(instance: Instance, device: str) -> None:
        """Have a block device disconnected."""
        _cast(instance.host, "detach_volume", instance, device=device)

    @staticmethod
    def recover(instance: str, host: str, attempt: int, delay_s: float) -> None:
        """Have an instance looked at again, whose handling failed."""
        arguments = {"instance": instance, "attempt": attempt}
        _client("compute").cast(host, "recover", delay_s=delay_s, **arguments)


def _cast(host: str | None, method: str, instance: Instance, **arguments: Any) -> None:
    assert host, f"instance {instance.uuid} is on no host"
    _client("compute").cast(host, method, instance=instance.uuid, **arguments)
