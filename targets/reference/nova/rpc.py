"""How the parts of the compute service call each other over the bus."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict
from functools import cache
from typing import Any

from targets.reference import config
from targets.reference.bus import Bus, CallLost, RpcClient, connect
from targets.reference.nova.instance import Instance
from targets.reference.nova.request_spec import RequestSpec

LOG = logging.getLogger(__name__)
RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses before work that failed is tried again; then every two seconds."""


def retry_delay_s(attempt: int) -> float:
    """Return how long to wait before attempt number ``attempt`` + 1."""
    return RETRY_S[attempt] if attempt < len(RETRY_S) else 2.0


@cache
def bus() -> Bus:
    """Return this process's connection to the broker."""
    found = config.current()
    return connect(found.bus, found.bus_token)


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
    def migrate_server(cell: str, migration: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have a host found for a server that is to be moved."""
        arguments = {"cell": cell, "migration": migration, "attempt": attempt}
        _client("conductor").cast("", "migrate_server", delay_s=delay_s, **arguments)

    @staticmethod
    def evacuate_server(cell: str, migration: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have a host found for a server whose own is down."""
        arguments = {"cell": cell, "migration": migration, "attempt": attempt}
        _client("conductor").cast("", "evacuate_server", delay_s=delay_s, **arguments)

    @staticmethod
    def live_migrate_server(
        cell: str, migration: str, attempt: int = 0, delay_s: float = 0.0
    ) -> None:
        """Have a host found for a server that is to be moved while it runs."""
        arguments = {"cell": cell, "migration": migration, "attempt": attempt}
        _client("conductor").cast("", "live_migrate_server", delay_s=delay_s, **arguments)

    @staticmethod
    def move_across_cells(migration: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have the next thing done for a move to another cell, of which something has changed."""
        arguments = {"migration": migration, "attempt": attempt}
        _client("conductor").cast("", "move_across_cells", delay_s=delay_s, **arguments)

    @staticmethod
    def resume_moves_of(compute: str) -> None:
        """Have the moves between cells taken up, of which a host that starts has a part."""
        _client("conductor").cast("", "resume_moves_of", compute=compute)

    @staticmethod
    def unshelve_instance(cell: str, instance: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have a host chosen for an instance that is shelved and on none."""
        arguments = {"cell": cell, "instance": instance, "attempt": attempt}
        _client("conductor").cast("", "unshelve_instance", delay_s=delay_s, **arguments)

    @staticmethod
    def recover() -> None:
        """Have every build that stopped half-way taken up again."""
        _client("conductor").cast("", "recover")

    @staticmethod
    def release_orphans(attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have given back what is claimed for nobody."""
        _client("conductor").cast("", "release_orphans", delay_s=delay_s, attempt=attempt)


class SchedulerRpc:
    """Calls the scheduler."""

    @staticmethod
    def select_hosts(spec: RequestSpec) -> list[str]:
        """Name the hosts that will do for a server, the best first."""
        while True:
            try:
                hosts: list[str] = _client("scheduler").call("", "select_hosts", spec=asdict(spec))
                return hosts
            except CallLost as error:
                # Selecting changes nothing. The next call waits until a scheduler is there.
                LOG.warning("asking for hosts again: %s", error)


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
    def shelve(instance: Instance) -> None:
        """Have the guest shut off, and its root disk kept as an image."""
        _cast(instance.host, "shelve", instance)

    @staticmethod
    def shelve_offload(instance: Instance) -> None:
        """Have a shelved instance removed from its host."""
        _cast(instance.host, "shelve_offload", instance)

    @staticmethod
    def unshelve(instance: Instance) -> None:
        """Have a shelved instance brought again: on its host, or on the node chosen for it."""
        _cast(instance.host or instance.node, "unshelve", instance)

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
    def prep_resize(host: str, migration: str) -> None:
        """Have the new flavor of a server claimed on the host that was chosen for it."""
        _client("compute").cast(host, "prep_resize", migration=migration)

    @staticmethod
    def resize_instance(host: str, migration: str) -> None:
        """Have the guest shut down, and the record handed to the new host."""
        _client("compute").cast(host, "resize_instance", migration=migration)

    @staticmethod
    def finish_resize(host: str, migration: str) -> None:
        """Have the guest made on its new host."""
        _client("compute").cast(host, "finish_resize", migration=migration)

    @staticmethod
    def confirm_resize(host: str, migration: str) -> None:
        """Have the source forget a server that stays where it has moved to."""
        _client("compute").cast(host, "confirm_resize", migration=migration)

    @staticmethod
    def revert_resize(host: str, migration: str) -> None:
        """Have the destination give a server back."""
        _client("compute").cast(host, "revert_resize", migration=migration)

    @staticmethod
    def finish_revert_resize(host: str, migration: str) -> None:
        """Have the guest run again where it came from."""
        _client("compute").cast(host, "finish_revert_resize", migration=migration)

    @staticmethod
    def rebuild_evacuated(host: str, migration: str) -> None:
        """Have a server made anew on the host that was chosen for it, as its own is down."""
        _client("compute").cast(host, "rebuild_evacuated", migration=migration)

    @staticmethod
    def live_migration_claim(host: str, migration: str) -> None:
        """Have a server claimed on the host that was chosen for it to come to as it runs."""
        _client("compute").cast(host, "live_migration_claim", migration=migration)

    @staticmethod
    def end_move(host: str, migration: str) -> None:
        """Have a host forget a server that is on another one and stays there, or is deleted."""
        _client("compute").cast(host, "end_move", migration=migration)

    @staticmethod
    def resume_move(host: str, migration: str, attempt: int = 0, delay_s: float = 0.0) -> None:
        """Have a move looked at again, of which a step failed or a message may be lost."""
        arguments = {"migration": migration, "attempt": attempt}
        _client("compute").cast(host, "resume_move", delay_s=delay_s, **arguments)

    @staticmethod
    def cross_cell_step(
        host: str,
        step: str,
        migration: str,
        others: Collection[str],
        attempt: int = 0,
        delay_s: float = 0.0,
    ) -> None:
        """Have a host do its ``step`` of a move to another cell; it tells a conductor afterwards.

        ``others`` are the attachments of the server's volumes that belong to the other cell.
        """
        arguments = {"migration": migration, "others": sorted(others), "attempt": attempt}
        _client("compute").cast(host, step, delay_s=delay_s, **arguments)

    @staticmethod
    def recover(instance: str, host: str, attempt: int, delay_s: float) -> None:
        """Have an instance looked at again, whose handling failed."""
        arguments = {"instance": instance, "attempt": attempt}
        _client("compute").cast(host, "recover", delay_s=delay_s, **arguments)

    @staticmethod
    def remove_deleted_guests(host: str, attempt: int, delay_s: float) -> None:
        """Have a host's guests looked at again, which its hypervisor could not name."""
        _client("compute").cast(host, "remove_deleted_guests", delay_s=delay_s, attempt=attempt)


def _cast(host: str | None, method: str, instance: Instance, **arguments: Any) -> None:
    assert host, f"instance {instance.uuid} is on no host"
    _client("compute").cast(host, method, instance=instance.uuid, **arguments)
