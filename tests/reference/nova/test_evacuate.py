"""A server whose host is down is made anew on another one, and its old host forgets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.operation import OperationFailed
from targets.cloud.world import CloudWorld, Migration, Usage
from tests.reference.nova.conftest import DEADLINE_S, Cloud

TINY, NOTHING = Usage(1, 512, 1), Usage(0, 0, 0)


def used(world: CloudWorld) -> list[Usage]:
    return [node.used for node in sorted(world.compute_nodes, key=lambda node: node.host)]


def move(cloud: Cloud) -> Migration:
    (found,) = cloud.target.observe().migrations
    return found


def holds(cloud: Cloud) -> set[str]:
    """The hosts of which the server holds something."""
    return {held.provider for held in cloud.target.observe().allocations}


@pytest.fixture
def server(cloud: Cloud) -> str:
    made: dict[str, Any] = cloud.do("server.create", "vm")
    cloud.settled()
    return str(made["id"])


@pytest.fixture
def orphaned(cloud: Cloud, server: str) -> Iterator[str]:
    """A server whose host is dead, until the end of the test."""
    source = cloud.target.services["compute-host1"]
    source.kill()
    assert source.wait_dead(DEADLINE_S)
    yield server
    if source.pid is None:
        source.start()


def test_a_server_is_on_another_host_and_its_old_one_has_nothing_of_it(
    cloud: Cloud, orphaned: str
) -> None:
    held = cloud.hold("before tracker.finish_evacuation")
    cloud.do("server.evacuate", "vm")
    hit = cloud.struck(held)
    seen = [move(cloud).status]
    assert used(cloud.target.observe()) == [TINY, TINY]
    hit.release()
    cloud.do("server.wait", "vm", "ACTIVE")
    world = cloud.settled()
    seen.append(move(cloud).status)
    assert holds(cloud) == {"host1", "host2"}
    assert used(world) == [NOTHING, TINY]
    assert {guest.host for guest in world.guests} == {"host1", "host2"}
    cloud.target.services["compute-host1"].start()
    world = cloud.settled()
    seen.append(move(cloud).status)
    assert seen == ["pre-migrating", "done", "completed"]
    assert holds(cloud) == {"host2"}
    assert {guest.host for guest in world.guests} == {"host2"}


def test_a_source_that_comes_back_amid_it_pulls_the_plug_of_its_guest(
    cloud: Cloud, orphaned: str
) -> None:
    held = cloud.hold("before tracker.finish_evacuation")
    cloud.do("server.evacuate", "vm")
    hit = cloud.struck(held)
    cloud.target.services["compute-host1"].start()
    assert {g.host: g.power for g in cloud.target.observe().guests} == {
        "host1": "shutdown", "host2": "running",
    }  # fmt: skip
    hit.release()
    cloud.do("server.wait", "vm", "ACTIVE")
    assert {guest.host for guest in cloud.settled().guests} == {"host2"}
    assert move(cloud).status == "completed"


def test_a_server_that_was_deleted_elsewhere_goes_from_its_old_host_too(
    cloud: Cloud, orphaned: str
) -> None:
    cloud.do("server.evacuate", "vm", wait="ACTIVE")
    cloud.do("server.delete", "vm")
    cloud.do("server.wait_gone", "vm")
    cloud.target.services["compute-host1"].start()
    assert not cloud.left_over()
    assert move(cloud).status == "completed"


def evacuate(cloud: Cloud, server: str, version: str, **asked: object) -> tuple[int, Any]:
    user: Any = cloud.target.client()
    compute = user.administrator().compute
    action = {"evacuate": asked}
    answer = compute.post(f"/servers/{server}/action", json=action, microversion=version)
    return answer.status_code, answer.json() if answer.content else None


def test_a_server_whose_host_is_up_stays(cloud: Cloud, server: str) -> None:
    with pytest.raises(OperationFailed, match="Compute service of host1 is still in use") as error:
        cloud.do("server.evacuate", "vm")
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("version", "asked", "status"),
    [
        ("2.13", {}, 400),  # it must say whether the storage is shared
        ("2.14", {"onSharedStorage": True}, 400),
        ("2.29", {"force": True}, 400),
        ("2.68", {"force": True, "host": "host2"}, 400),
        ("2.68", {"host": "host1"}, 400),
        ("2.68", {"host": "nowhere"}, 404),
    ],
)
def test_what_is_asked_is_checked(
    cloud: Cloud, server: str, version: str, asked: dict[str, object], status: int
) -> None:
    cloud.do("compute.force_down", "host1")
    assert evacuate(cloud, server, version, **asked)[0] == status


def test_only_an_administrator_evacuates(cloud: Cloud, server: str) -> None:
    own = cloud.target.client().compute
    answer = own.post(f"/servers/{server}/action", json={"evacuate": {}}, microversion="2.68")
    assert answer.status_code == 403


def test_an_old_client_is_told_a_password(cloud: Cloud, server: str) -> None:
    cloud.do("compute.force_down", "host1")
    status, told = evacuate(cloud, server, "2.13", onSharedStorage=False, adminPass="secret")
    assert (status, told) == (200, {"adminPass": "secret"})
    cloud.do("server.wait", "vm", "ACTIVE")


def test_a_new_client_finds_its_server_stopped(cloud: Cloud, server: str) -> None:
    cloud.do("compute.force_down", "host1")
    assert evacuate(cloud, server, "2.95") == (200, None)
    cloud.do("server.wait", "vm", "SHUTOFF")
    world = cloud.settled()
    assert {(guest.host, guest.power) for guest in world.guests} == {("host2", "shutdown")}
    assert move(cloud).status == "completed"
