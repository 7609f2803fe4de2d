"""What the compute service asks of the placement service. A host is a provider of its name."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from targets.reference.client import Conflict, NotFound, ServiceClient

_SERVICE = ServiceClient("placement", {"OpenStack-API-Version": "placement 1.39"})
_NAMESPACE = uuid.UUID("4e8e5957-649f-477b-9e5b-f1f75b21c03c")

CONCURRENT_UPDATE = "placement.concurrent_update"


class NoValidHost(Exception):
    """No host has room for the server."""


def resources(vcpus: int, ram: int, disk: int) -> dict[str, int]:
    """Return a flavor as placement counts it; a class of which nothing is wanted is left out."""
    wanted = {"VCPU": vcpus, "MEMORY_MB": ram, "DISK_GB": disk}
    return {name: amount for name, amount in wanted.items() if amount}


def of_flavor(flavor: Mapping[str, Any]) -> dict[str, int]:
    """Return what a server of these columns needs, as placement counts it."""
    return resources(flavor["vcpus"], flavor["ram"], flavor["disk"])


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


def claim_first(
    consumer: str, hosts: Sequence[str], wanted: Mapping[str, int], project_id: str, user_id: str
) -> str:
    """Give ``consumer`` what is ``wanted`` of the first of ``hosts`` that has it; return which.

    What it holds of one of them it keeps; what it holds of another host goes with the same step.

    Raises:
        NoValidHost: none has it.
    """
    owner = {"project_id": project_id, "user_id": user_id}
    left = list(hosts)
    while left:
        held = _held(consumer)
        for host in hosts:
            if _provider(host) in held["allocations"]:
                return host
        body = {
            "allocations": {_provider(left[0]): {"resources": dict(wanted)}},
            "consumer_generation": held.get("consumer_generation"),
            **owner,
        }
        try:
            _SERVICE.put(f"/allocations/{consumer}", body)
        except Conflict as error:
            if CONCURRENT_UPDATE not in str(error):
                left.pop(0)  # it is full
        else:
            return left[0]
    raise NoValidHost("No valid host was found. There are not enough hosts available.")


def claim_beside(
    consumer: str, source: str, host: str, wanted: Mapping[str, int], owner: tuple[str, str]
) -> bool:
    """Give ``consumer`` what is ``wanted`` of ``host``, beside what it holds of ``source``.

    What it holds of any other host goes with the same step. False when the host is full.

    Raises:
        Conflict: somebody else has changed what it holds; ask again.
    """
    held = _held(consumer)
    kept = {
        key: {"resources": on["resources"]}
        for key, on in held["allocations"].items()
        if key == _provider(source)
    }
    if held["allocations"].keys() == kept.keys() | {_provider(host)}:
        return True
    body = {
        "allocations": {**kept, _provider(host): {"resources": dict(wanted)}},
        "consumer_generation": held.get("consumer_generation"),
        "project_id": owner[0],
        "user_id": owner[1],
    }
    try:
        _SERVICE.put(f"/allocations/{consumer}", body)
    except Conflict as error:
        if CONCURRENT_UPDATE in str(error):
            raise
        return False
    return True


def keep_only(consumer: str, host: str) -> None:
    """Take from ``consumer`` what it holds of other hosts than ``host``, if it holds that.

    Raises:
        Conflict: somebody else has changed what it holds; ask again.
    """
    _reduce(consumer, lambda provider: provider == _provider(host))


def drop(consumer: str, host: str) -> None:
    """Take from ``consumer`` what it holds of a host, if it holds something of another one.

    Raises:
        Conflict: somebody else has changed what it holds; ask again.
    """
    _reduce(consumer, lambda provider: provider != _provider(host))


def _reduce(consumer: str, keeps: Callable[[str], bool]) -> None:
    held = _held(consumer)
    kept = {
        key: {"resources": on["resources"]} for key, on in held["allocations"].items() if keeps(key)
    }
    if kept and len(kept) < len(held["allocations"]):
        owner = {name: held[name] for name in ("consumer_generation", "project_id", "user_id")}
        _SERVICE.put(f"/allocations/{consumer}", {"allocations": kept, **owner})


def hosts_of(consumer: str) -> list[str]:
    """Name the hosts of which ``consumer`` holds something."""
    held = _SERVICE.get(f"/allocations/{consumer}")["allocations"]
    names = {
        p["uuid"]: p["name"] for p in _SERVICE.get("/resource_providers")["resource_providers"]
    }
    return [names[provider] for provider in held]


def consumers() -> frozenset[str]:
    """Name all who hold something of any host."""
    found = _SERVICE.get("/resource_providers")["resource_providers"]
    held = [_SERVICE.get(f"/resource_providers/{p['uuid']}/allocations") for p in found]
    return frozenset().union(*(on["allocations"] for on in held))


def release(consumer: str) -> None:
    """Take everything from ``consumer``; one that holds nothing is no error."""
    with suppress(NotFound):
        _SERVICE.delete(f"/allocations/{consumer}")


def hand_over(instance: str, migration: str) -> None:
    """Have a migration hold what its instance holds, unless it does so already.

    What the instance holds at its source stays held then, while it may claim another host.

    Raises:
        Conflict: somebody else has changed what either holds; ask again.
    """
    if not _held(migration)["allocations"]:
        _move(instance, migration)


def give_back(migration: str, instance: str) -> None:
    """Have an instance hold what its migration holds, and nothing else; if it holds something.

    Raises:
        Conflict: somebody else has changed what either holds; ask again.
    """
    _move(migration, instance)


def _move(giver: str, taker: str) -> None:
    """Move everything from one consumer to another, as one step."""
    held, has = _held(giver), _held(taker)
    if not held["allocations"]:
        return
    owner = {"project_id": held["project_id"], "user_id": held["user_id"]}
    moved = {key: {"resources": on["resources"]} for key, on in held["allocations"].items()}
    body = {
        giver: {
            "allocations": {}, "consumer_generation": held["consumer_generation"], **owner
        },
        taker: {
            "allocations": moved, "consumer_generation": has.get("consumer_generation"), **owner
        },
    }  # fmt: skip
    _SERVICE.post("/allocations", body)


def _held(consumer: str) -> dict[str, Any]:
    found: dict[str, Any] = _SERVICE.get(f"/allocations/{consumer}")
    return found


def _provider(host: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, host))
