"""What the compute service asks of the placement service. A host is a provider of its name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress

from targets.reference.client import Conflict, NotFound, ServiceClient

_SERVICE = ServiceClient("placement", {"OpenStack-API-Version": "placement 1.39"})
_NAMESPACE = uuid.UUID("4e8e5957-649f-477b-9e5b-f1f75b21c03c")


class NoValidHost(Exception):
    """No host has room for the server."""


def resources(vcpus: int, ram: int, disk: int) -> dict[str, int]:
    """Return a flavor as placement counts it; a class of which nothing is wanted is left out."""
    wanted = {"VCPU": vcpus, "MEMORY_MB": ram, "DISK_GB": disk}
    return {name: amount for name, amount in wanted.items() if amount}


def register_host(host: str, inventory: Mapping[str, int]) -> None:
    """Make sure that placement knows a host and what it has."""
    provider = _provider(host)
    with suppress(Conflict):
        _SERVICE.post("/resource_providers", {"name": host, "uuid": provider})
    path = f"/resource_providers/{provider}/inventories"
    known = _SERVICE.get(path)
    if {name: has["total"] for name, has in known["inventories"].items()} != inventory:
        totals = {name: {"total": total} for name, total in inventory.items()}
        generation = known["resource_provider_generation"]
        _SERVICE.put(path, {"resource_provider_generation": generation, "inventories": totals})


def candidates(wanted: Mapping[str, int]) -> list[str]:
    """Name the hosts that have room for ``wanted``."""
    query = ",".join(f"{name}:{amount}" for name, amount in wanted.items())
    fitting = _SERVICE.get(f"/allocation_candidates?resources={query}")["allocation_requests"]
    names = {
        p["uuid"]: p["name"] for p in _SERVICE.get("/resource_providers")["resource_providers"]
    }
    return [names[provider] for request in fitting for provider in request["allocations"]]


def claim(
    consumer: str, host: str, wanted: Mapping[str, int], project_id: str, user_id: str
) -> bool:
    """Give ``consumer``, which holds nothing yet, ``wanted`` of a host; False when it is full."""
    body = {
        "allocations": {_provider(host): {"resources": dict(wanted)}},
        "project_id": project_id,
        "user_id": user_id,
        "consumer_generation": None,
    }
    try:
        _SERVICE.put(f"/allocations/{consumer}", body)
    except Conflict:
        # A cut connection makes the client repeat the request: the first one may have won.
        return host in hosts_of(consumer)
    return True


def hosts_of(consumer: str) -> list[str]:
    """Name the hosts of which ``consumer`` holds something."""
    held = _SERVICE.get(f"/allocations/{consumer}")["allocations"]
    names = {
        p["uuid"]: p["name"] for p in _SERVICE.get("/resource_providers")["resource_providers"]
    }
    return [names[provider] for provider in held]


def release(consumer: str) -> None:
    """Take everything from ``consumer``; one that holds nothing is no error."""
    with suppress(NotFound):
        _SERVICE.delete(f"/allocations/{consumer}")


def _provider(host: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, host))
