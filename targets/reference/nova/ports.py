"""What the compute service asks of the network service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from targets.reference.client import NotFound, ServiceClient

OWNER = "compute:nova"
_SERVICE = ServiceClient("network")


def create(instance: str, host: str) -> dict[str, str]:
    """Make a port for an instance on the project's network, bound to ``host``."""
    networks = _SERVICE.get("/v2.0/networks")["networks"]
    port = {
        "network_id": networks[0]["id"],
        "device_id": instance,
        "device_owner": OWNER,
        "binding:host_id": host,
    }
    return _summary(_SERVICE.post("/v2.0/ports", {"port": port})["port"])


def bind(port: str, instance: str, host: str) -> dict[str, str]:
    """Give a port of the user's to an instance on ``host``.

    Raises:
        NotFound: there is no such port.
    """
    values = {"device_id": instance, "device_owner": OWNER, "binding:host_id": host}
    return _summary(_SERVICE.put(f"/v2.0/ports/{port}", {"port": values})["port"])


def is_free(port: str) -> bool:
    """Whether a port of the user's belongs to no device.

    Raises:
        NotFound: there is no such port.
    """
    return not _SERVICE.get(f"/v2.0/ports/{port}")["port"]["device_id"]


def release(instance: str, requested: list[str]) -> None:
    """Delete the ports that were made for an instance; unbind those it was given by its user."""
    for port in _SERVICE.get(f"/v2.0/ports?device_id={instance}")["ports"]:
        if port["id"] in requested:
            unbind(port["id"])
        else:
            delete(port["id"])


def delete(port: str) -> None:
    """Delete a port; one that is gone is no error."""
    with suppress(NotFound):
        _SERVICE.delete(f"/v2.0/ports/{port}")


def unbind(port: str) -> None:
    """Take a port from its instance; one that is gone is no error."""
    nobody = {"device_id": "", "device_owner": "", "binding:host_id": ""}
    with suppress(NotFound):
        _SERVICE.put(f"/v2.0/ports/{port}", {"port": nobody})


def _summary(port: dict[str, Any]) -> dict[str, str]:
    return {
        "id": port["id"],
        "mac": port["mac_address"],
        "ip": port["fixed_ips"][0]["ip_address"],
        "network": "private",
    }
