"""The compute's hands: what it does to the guests of its host's hypervisor."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from targets.reference.client import NotFound, ServiceClient
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import Power, Reboot

_POWER = {
    "running": Power.RUNNING,
    "paused": Power.PAUSED,
    "shutdown": Power.SHUTDOWN,
    "crashed": Power.CRASHED,
}


def wait_soft_reboot_s() -> float:
    """Return how long a guest may take to obey ACPI, from ``REFERENCE_WAIT_SOFT_REBOOT_S``."""
    return float(os.environ.get("REFERENCE_WAIT_SOFT_REBOOT_S", "1.0"))


class Driver:
    """Talks to the hypervisor of ``host``. Everything can be repeated without harm."""

    def __init__(self, host: str) -> None:
        self._hypervisor = ServiceClient(f"hypervisor-{host}")

    def spawn(self, instance: Instance, disks: list[str], image: str = "") -> None:
        """Define a guest with its disks and start it.

        Where there is none yet, its root disk is made from ``image``: the instance's own, unless it
        is said.
        """
        self.define(instance, image)
        for volume in disks:
            self.attach_disk(instance.uuid, volume)
        self.start(instance.uuid)

    def reboot(self, instance: Instance, disks: list[str], kind: Reboot) -> None:
        """Shut a guest down and start it again.

        Softly if it obeys ACPI in time; else hard, which pulls the plug and defines it anew.
        """
        if kind == Reboot.SOFT and self.shutdown(instance.uuid):
            self.start(instance.uuid)
            return
        with suppress(NotFound):
            self.power_off(instance.uuid)
        self.spawn(instance, disks)

    def define(self, instance: Instance, image: str = "") -> None:
        """Make the guest known to the hypervisor, shut off."""
        guest = {"name": instance.name, "image": image or instance.image}
        self._hypervisor.put(f"/guests/{instance.uuid}", {"guest": guest})

    def start(self, uuid: str) -> None:
        """Start a guest.

        Raises:
            NotFound: the hypervisor does not know it.
        """
        self._hypervisor.post(f"/guests/{uuid}/start")

    def shutdown(self, uuid: str) -> bool:
        """Ask a guest by ACPI to shut down; True once it has, False when it did not in time.

        Raises:
            NotFound: the hypervisor does not know it.
        """
        patience = {"shutdown": {"wait_s": wait_soft_reboot_s()}}
        power: str = self._hypervisor.post(f"/guests/{uuid}/shutdown", patience)["power"]
        return power not in ("running", "paused")

    def power_off(self, uuid: str) -> None:
        """Pull a guest's plug.

        Raises:
            NotFound: the hypervisor does not know it.
        """
        self._hypervisor.post(f"/guests/{uuid}/power-off")

    def pause(self, uuid: str) -> None:
        """Stop a guest's processors.

        Raises:
            Conflict: it does not run.
            NotFound: the hypervisor does not know it.
        """
        self._hypervisor.post(f"/guests/{uuid}/pause")

    def unpause(self, uuid: str) -> None:
        """Let a paused guest go on.

        Raises:
            Conflict: it is not paused.
            NotFound: the hypervisor does not know it.
        """
        self._hypervisor.post(f"/guests/{uuid}/unpause")

    def live_migrate(self, uuid: str, to: str, power: Power) -> None:
        """Have the hypervisor hand a guest over to that of another host, as it runs or is paused.

        One that is not here any more was handed over before.
        """
        with suppress(NotFound):
            handing = {"to": to, "power": "paused" if power == Power.PAUSED else "running"}
            self._hypervisor.post(f"/guests/{uuid}/migrate", {"migrate": handing})

    def snapshot(self, uuid: str) -> bytes:
        """Return what a guest's root disk holds.

        Raises:
            NotFound: the hypervisor does not know it.
        """
        content: str = self._hypervisor.post(f"/guests/{uuid}/snapshot")["content"]
        return content.encode()

    def destroy(self, uuid: str) -> None:
        """Stop a guest and forget it; one that is gone is no error."""
        with suppress(NotFound):
            self._hypervisor.delete(f"/guests/{uuid}")

    def attach_disk(self, uuid: str, volume: str) -> None:
        """Connect a volume to a guest."""
        self._hypervisor.put(f"/guests/{uuid}/disks/{volume}")

    def detach_disk(self, uuid: str, volume: str) -> None:
        """Disconnect a volume from a guest; one that is not connected is no error."""
        with suppress(NotFound):
            self._hypervisor.delete(f"/guests/{uuid}/disks/{volume}")

    def disconnect_volume(self, volume: str) -> None:
        """Disconnect the host from a volume that none of its guests uses any more."""
        self._hypervisor.delete(f"/volumes/{volume}")

    def power_state(self, uuid: str) -> Power:
        """Return what a guest does, NOSTATE when the hypervisor does not know it."""
        try:
            guest = self._hypervisor.get(f"/guests/{uuid}")
        except NotFound:
            return Power.NOSTATE
        return _POWER[guest["power"]]

    def disks(self, uuid: str) -> list[str]:
        """Name the volumes that a guest has, none when the hypervisor does not know it."""
        try:
            found: list[str] = self._hypervisor.get(f"/guests/{uuid}")["disks"]
        except NotFound:
            return []
        return found

    def guests(self) -> list[str]:
        """Return the uuids of all guests."""
        found: list[dict[str, Any]] = self._hypervisor.get("/guests")["guests"]
        return [guest["uuid"] for guest in found]
