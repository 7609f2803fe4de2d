"""Servers are shelved, taken from their host, and brought again."""

from __future__ import annotations

import pytest

from chaos.operation import OperationFailed
from targets.cloud.world import CloudWorld
from tests.reference.nova.conftest import Cloud


@pytest.fixture
def shelved(cloud: Cloud) -> Cloud:
    """A server with a volume that is shut off and kept as an image."""
    cloud.do("volume.create", "data")
    cloud.do("server.create", "vm")
    cloud.do("volume.attach", "vm", "data", delete_on_termination=True)
    cloud.do("server.shelve", "vm", wait="SHELVED")
    return cloud


@pytest.fixture
def offloaded(shelved: Cloud) -> Cloud:
    shelved.do("server.offload", "vm", wait="SHELVED_OFFLOADED")
    return shelved


def on_host(world: CloudWorld) -> tuple[int, int, list[str]]:
    """How much of a server is on a host: guests, allocations, and where its ports are bound."""
    return len(world.guests), len(world.allocations), [port.host for port in world.ports]


def test_a_shelved_server_keeps_its_host_and_has_an_image(shelved: Cloud) -> None:
    world = shelved.settled()
    assert on_host(world) == (1, 3, ["host1"])
    assert [(i.name, i.status, i.temporary) for i in world.images] == [
        ("vm-shelved", "active", True)
    ]


def test_an_offloaded_server_is_on_no_host_and_keeps_what_is_its_own(offloaded: Cloud) -> None:
    world = offloaded.settled()
    assert on_host(world) == (0, 0, [""])
    assert [volume.status for volume in world.volumes] == ["reserved"]
    assert [attachment.status for attachment in world.attachments] == ["reserved"]
    assert world.host_connections == ()


@pytest.mark.parametrize("given", ["shelved", "offloaded"])
def test_a_server_that_comes_again_has_everything_and_no_image(
    request: pytest.FixtureRequest, given: str
) -> None:
    cloud: Cloud = request.getfixturevalue(given)
    cloud.do("server.unshelve", "vm", wait="ACTIVE")
    world = cloud.settled()
    assert on_host(world) == (1, 3, ["host1"])
    assert ([v.status for v in world.volumes], world.images) == (["in-use"], ())
    assert [len(guest.disks) for guest in world.guests] == [1]


@pytest.mark.parametrize("given", ["shelved", "offloaded"])
def test_a_shelved_server_that_is_deleted_leaves_nothing(
    request: pytest.FixtureRequest, given: str
) -> None:
    cloud: Cloud = request.getfixturevalue(given)
    cloud.do("server.delete", "vm")
    assert cloud.left_over() == []


def test_a_server_for_which_there_is_no_room_stays_shelved(offloaded: Cloud) -> None:
    for number in range(4):
        offloaded.do("server.create", f"vm{number}", flavor="m1.xlarge", networks="none")
    offloaded.do("server.unshelve", "vm")
    offloaded.settled()
    offloaded.do("server.expect", "vm", status="SHELVED_OFFLOADED", task_state="none")
    (refused,) = [a for a in offloaded.settled().actions if a.action == "unshelve"]
    assert refused.result == "Error"


def test_the_periodic_task_offloads_what_is_shelved(shelved: Cloud) -> None:
    shelved.do("compute.tick", host="host1", task="poll_shelved_instances")
    assert on_host(shelved.settled()) == (0, 0, [""])


@pytest.mark.parametrize("operation", ["server.unshelve", "server.offload"])
def test_what_is_not_shelved_can_not_come_again_or_go(cloud: Cloud, operation: str) -> None:
    cloud.do("server.create", "vm")
    with pytest.raises(OperationFailed) as conflict:
        cloud.do(operation, "vm")
    assert conflict.value.status == 409
