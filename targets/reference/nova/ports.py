"""What the compute service asks of the network service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from targets.reference.client import NotFound, ServiceClient

OWNER = "compute:nova"
_SERVICE = ServiceClient("network")
_ON_NETWORK = "network:"


def on_network(network: str) -> str:
    """Write down that a port shall be made on a network, where else the id of a port stands."""
    return _ON_NETWORK + network


def is_given(wanted: str) -> bool:
    """Whether a port of the user's is wanted, and not one that is to be made."""
    return bool(wanted) and not wanted.startswith(_ON_NETWORK)


def create(instance: str, host: str, project_id: str, wanted: str = "") -> dict[str, str]:
    """Make a port for an instance, on the ``wanted`` or the first network, bound to ``host``."""
    asked = wanted.removeprefix(_ON_NETWORK)
    which = f"id={asked}" if asked else "name=private&shared=true"
    (network, *_) = _SERVICE.get(f"/v2.0/networks?{which}")["networks"]
    port = {
        "network_id": network["id"],
        "project_id": project_id,
        "device_id": instance,
        "device_owner": OWNER,
        "binding:host_id": host,
    }
    return _summary(_SERVICE.post("/v2.0/ports", {"port": port})["port"], network["name"])


def network_exists(network: str) -> bool:
    """Whether the caller may use a network."""
    try:
        _SERVICE.get(f"/v2.0/networks/{network}")
    except NotFound:
        return False
    return True


def bind(port: str, instance: str, host: str) -> dict[str, str]:
    """Give a port of the user's to an instance on ``host``.

    Raises:
        NotFound: there is no such port.
    """
    values = {"device_id": instance, "device_owner": OWNER, "binding:host_id": host}
    bound = _SERVICE.put(f"/v2.0/ports/{port}", {"port": values})["port"]
    network = _SERVICE.get(f"/v2.0/networks/{bound['network_id']}")["network"]
    return _summary(bound, network["name"])


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


def unbind_host(port: str) -> None:
    """Leave a port to its instance, which is on no host for a while (LP#1983471)."""
    with suppress(NotFound):
        _SERVICE.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": ""}})


def _summary(port: dict[str, Any], network: str) -> dict[str, str]:
    addresses = port["fixed_ips"]
    return {
        "id": port["id"],
        "mac": port["mac_address"],
        "ip": addresses[0]["ip_address"] if addresses else "",
        "network": network,
    }
