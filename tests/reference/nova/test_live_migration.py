"""A server moves to another host while its guest runs; when that fails, it stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.action import Action
from targets.cloud.world import CloudWorld, Migration, Usage
from tests.reference.nova.conftest import Cloud

TINY, NOTHING = Usage(1, 512, 1), Usage(0, 0, 0)


def used(world: CloudWorld) -> list[Usage]:
    return [node.used for node in sorted(world.compute_nodes, key=lambda node: node.host)]


def move(cloud: Cloud) -> Migration:
    (found,) = cloud.target.observe().migrations
    return found


def guests(world: CloudWorld) -> dict[str, str]:
    return {guest.host: guest.power for guest in world.guests}


@pytest.fixture
def server(cloud: Cloud) -> str:
    cloud.do("volume.create", "data")
    made: dict[str, Any] = cloud.do("server.create", "vm", volumes=["data"])
    cloud.settled()
    return str(made["id"])


STATUSES = {
    "before tracker.live_migration_claim": "accepted",
    "after tracker.live_migration_claim": "queued",
    "before compute.pre_live_migration": "preparing",
    "before compute.live_migration": "running",
    "before compute.post_live_migration": "completed",
}


@pytest.mark.parametrize("stage", STATUSES)
def test_a_live_migration_tells_how_far_it_is_and_may_be_ended_by_a_delete(
    cloud: Cloud, server: str, stage: str
) -> None:
    held = cloud.hold(stage, actor="req-move")
    cloud.do("server.live_migrate", "vm", actor="req-move")
    hit = cloud.struck(held)
    assert move(cloud).status == STATUSES[stage]
    cloud.do("server.delete", "vm")
    hit.release()
    assert [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]


def test_the_guest_runs_on_one_host_and_both_are_kept_until_it_is_there(
    cloud: Cloud, server: str
) -> None:
    held = cloud.hold("before hypervisor.live_migrate")
    cloud.do("server.live_migrate", "vm")
    hit = cloud.struck(held)
    world = cloud.target.observe()
    assert guests(world) == {"host1": "running", "host2": "shutdown"}
    assert used(world) == [TINY, TINY]
    assert {(a.consumer == server, a.provider) for a in world.allocations} == {
        (False, "host1"), (True, "host2"),
    }  # fmt: skip
    hit.release()
    cloud.do("server.wait", "vm", "ACTIVE")
    world = cloud.settled()
    assert guests(world) == {"host2": "running"}
    assert used(world) == [NOTHING, TINY]
    assert {(a.consumer == server, a.provider) for a in world.allocations} == {(True, "host2")}


def test_a_guest_that_is_refused_goes_on_where_it_was(cloud: Cloud, server: str) -> None:
    cloud.arm("before guest.receive", Action.error("builtins:RuntimeError", "full"), actor=None)
    cloud.do("server.live_migrate", "vm")
    cloud.do("server.wait", "vm", "ACTIVE")
    world = cloud.settled()
    assert guests(world) == {"host1": "running"}
    assert used(world) == [TINY, NOTHING]
    assert {(a.consumer == server, a.provider) for a in world.allocations} == {(True, "host1")}
    assert move(cloud).status == "failed"


def ask(cloud: Cloud, server: str, version: str, **asked: object) -> int:
    user: Any = cloud.target.client()
    action = {"os-migrateLive": asked}
    path = f"/servers/{server}/action"
    answer = user.administrator().compute.post(path, json=action, microversion=version)
    return int(answer.status_code)


@pytest.mark.parametrize(
    ("version", "asked", "status"),
    [
        ("2.24", {"host": "host2", "block_migration": "auto", "disk_over_commit": False}, 400),
        ("2.24", {"host": "host2", "block_migration": False}, 400),
        ("2.24", {"host": "host2", "block_migration": False, "disk_over_commit": False}, 202),
        ("2.30", {"host": None, "block_migration": "auto", "force": True}, 400),
        ("2.68", {"host": "host2", "block_migration": "auto", "force": True}, 400),
        ("2.68", {"host": "nowhere", "block_migration": "auto"}, 400),
        ("2.68", {"host": None, "block_migration": "auto"}, 202),
    ],
)
def test_what_is_asked_is_checked(
    cloud: Cloud, server: str, version: str, asked: dict[str, object], status: int
) -> None:
    assert ask(cloud, server, version, **asked) == status
    assert len(cloud.settled().migrations) == (status == 202)


def test_its_own_host_is_no_other_one(cloud: Cloud, server: str) -> None:
    assert ask(cloud, server, "2.68", host="host1", block_migration="auto") == 202
    cloud.do("server.wait", "vm", "ACTIVE")
    assert guests(cloud.settled()) == {"host1": "running"}
    assert move(cloud).status == "error"


def test_only_a_server_that_runs_is_moved_so(cloud: Cloud, server: str) -> None:
    cloud.do("server.stop", "vm", wait="SHUTOFF")
    assert ask(cloud, server, "2.68", host=None, block_migration="auto") == 409
