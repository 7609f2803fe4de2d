from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

MICROVERSION = "1.36"


class Placement:
    """The service by raw HTTP, as Nova speaks to it."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        return self.adapter.request(
            path, method, json=body, microversion=MICROVERSION, raise_exc=False
        )

    def claim(self, consumer: str, provider: str, vcpus: int, generation: int | None = None) -> Any:
        body = {
            "allocations": {provider: {"resources": {"VCPU": vcpus}}},
            "project_id": "demo",
            "user_id": "demo",
            "consumer_generation": generation,
        }
        return self("PUT", f"/allocations/{consumer}", body)

    def used(self, provider: str) -> int:
        used: int = self("GET", f"/resource_providers/{provider}/usages").json()["usages"]["VCPU"]
        return used


@pytest.fixture
def placement(cloud: Any) -> Placement:
    return Placement(cloud.placement)


@pytest.fixture
def provider(placement: Placement) -> str:
    """A provider with four VCPU."""
    name = f"host-{uuid.uuid4()}"
    found: str = placement("POST", "/resource_providers", {"name": name}).json()["uuid"]
    inventory = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 4}}}
    placement("PUT", f"/resource_providers/{found}/inventories", inventory)
    return found


def test_a_claim_holds_resources_until_it_is_released(placement: Placement, provider: str) -> None:
    consumer = str(uuid.uuid4())
    seen = [placement.claim(consumer, provider, 3).status_code, placement.used(provider)]
    seen += [placement("DELETE", f"/allocations/{consumer}").status_code, placement.used(provider)]
    assert seen == [204, 3, 204, 0]


def test_racing_claims_never_exceed_the_capacity(placement: Placement, provider: str) -> None:
    def claim(_: int) -> int:
        return int(placement.claim(str(uuid.uuid4()), provider, 1).status_code)

    with ThreadPoolExecutor(8) as racers:
        answers = sorted(racers.map(claim, range(8)))
    assert (answers, placement.used(provider)) == ([204] * 4 + [409] * 4, 4)


def test_a_claim_with_an_old_generation_is_told_of_the_concurrent_update(
    placement: Placement, provider: str
) -> None:
    consumer = str(uuid.uuid4())
    placement.claim(consumer, provider, 1)
    (error,) = placement.claim(consumer, provider, 2).json()["errors"]
    assert (error["status"], error["code"]) == (409, "placement.concurrent_update")


def test_of_a_pair_of_claims_that_do_not_both_fit_none_is_made(
    placement: Placement, provider: str
) -> None:
    pair = {
        str(uuid.uuid4()): {
            "allocations": {provider: {"resources": {"VCPU": 3}}},
            "project_id": "demo",
            "user_id": "demo",
            "consumer_generation": None,
        }
        for _ in range(2)
    }
    answer = placement("POST", "/allocations", pair).status_code
    assert (answer, placement.used(provider)) == (409, 0)


def test_releasing_twice_says_not_found(placement: Placement, provider: str) -> None:
    consumer = str(uuid.uuid4())
    placement.claim(consumer, provider, 1)
    placement("DELETE", f"/allocations/{consumer}")
    assert placement("DELETE", f"/allocations/{consumer}").status_code == 404


def test_a_full_provider_is_no_candidate(placement: Placement, provider: str) -> None:
    def candidates() -> set[str]:
        found = placement("GET", "/allocation_candidates?resources=VCPU:2").json()
        return {p for request in found["allocation_requests"] for p in request["allocations"]}

    before = provider in candidates()
    placement.claim(str(uuid.uuid4()), provider, 3)
    assert (before, provider in candidates()) == (True, False)


def test_a_provider_in_use_cannot_be_deleted(placement: Placement, provider: str) -> None:
    placement.claim(str(uuid.uuid4()), provider, 1)
    assert placement("DELETE", f"/resource_providers/{provider}").status_code == 409
