"""Which hosts a server may get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from targets.reference.nova.aggregates import Aggregate
from targets.reference.nova.host_filters import Surroundings, passing
from targets.reference.nova.request_spec import RequestSpec
from tests.reference.nova.conftest import Cloud

SPEC = RequestSpec("i1", 1, 512, 1)
HOSTS = ("host1", "host2", "host3")
FAST = Aggregate(1, "a1", "fast", "", None, ("host2", "host3"), {"disk": "ssd, nvme"})
ZONE = Aggregate(2, "a2", "zone", "", None, ("host3",), {"availability_zone": "west"})
AROUND = Surroundings({"host1": "cell1", "host2": "cell1", "host3": "cell2"}, (FAST, ZONE))


@pytest.mark.parametrize(
    ("wanted", "hosts"),
    [
        ({}, ["host1", "host2", "host3"]),
        ({"cell": "cell1"}, ["host1", "host2"]),
        ({"host": "host2"}, ["host2"]),
        ({"zone": "west"}, ["host3"]),
        ({"zone": "nova"}, ["host1", "host2"]),
        ({"extra_specs": {"disk": "ssd"}}, ["host2", "host3"]),
        ({"extra_specs": {"aggregate_instance_extra_specs:disk": "nvme"}}, ["host2", "host3"]),
        ({"extra_specs": {"disk": "tape"}}, []),
        ({"extra_specs": {"hw:cpu_policy": "dedicated"}}, ["host1", "host2", "host3"]),
    ],
)
def test_a_host_has_to_have_what_is_wanted(wanted: dict[str, Any], hosts: list[str]) -> None:
    assert passing(HOSTS, replace(SPEC, **wanted), AROUND) == hosts


@pytest.mark.parametrize(
    ("policy", "on", "most", "hosts"),
    [
        ("affinity", {}, 1, ["host1", "host2", "host3"]),
        ("affinity", {"host2": 1}, 1, ["host2"]),
        ("anti-affinity", {"host2": 1}, 1, ["host1", "host3"]),
        ("anti-affinity", {"host2": 1, "host3": 2}, 2, ["host1", "host2"]),
        ("soft-affinity", {"host2": 1}, 1, ["host1", "host2", "host3"]),
    ],
)
def test_servers_of_a_group_are_together_or_apart(
    policy: str, on: dict[str, int], most: int, hosts: list[str]
) -> None:
    around = replace(AROUND, policy=policy, neighbours=on, most=most)
    assert passing(HOSTS, SPEC, around) == hosts


def test_a_host_that_is_not_up_is_not_chosen() -> None:
    assert passing(HOSTS, SPEC, replace(AROUND, cells={"host2": "cell1"})) == ["host2"]


def test_a_server_is_built_on_the_host_that_is_up(cloud: Cloud) -> None:
    cloud.target.services["compute-host1"].kill()
    cloud.do("server.create", "vm")
    cloud.do("server.expect", "vm", host="host2")
