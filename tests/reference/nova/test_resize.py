"""A server moves to another flavor and host, and back or not, as its user decides."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed
from targets.cloud.world import CloudWorld, Usage
from tests.reference.nova.conftest import Cloud

TINY, SMALL = Usage(1, 512, 1), Usage(1, 2048, 20)
BOTH = Usage(2, 2560, 21)
NOTHING = Usage(0, 0, 0)


def used(world: CloudWorld) -> dict[str, Usage]:
    return {node.host: node.used for node in world.compute_nodes}


def held(world: CloudWorld) -> dict[tuple[str, str], Usage]:
    """What each consumer holds of each host."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for a in world.allocations:
        found.setdefault((a.consumer, a.provider), {})[a.resource] = a.amount
    return {key: Usage(has["VCPU"], has["MEMORY_MB"], has["DISK_GB"]) for key, has in found.items()}


def guests(world: CloudWorld) -> dict[str, str]:
    return {guest.host: guest.power for guest in world.guests}


@pytest.fixture
def server(cloud: Cloud) -> str:
    """A running server with a volume, on host1."""
    cloud.do("volume.create", "data")
    made: dict[str, Any] = cloud.do("server.create", "vm", volumes=["data"])
    cloud.do("server.expect", "vm", host="host1")
    return str(made["id"])


RESIZING = [
    "before conductor.migrate",
    "after allocation.hand_over",
    "after allocation.claim_first",
    "after migration.save",
    "before tracker.resize_claim",
    "after tracker.resize_claim",
    "before hypervisor.shutdown",
    "before compute.finish_resize",
    "before hypervisor.start",
    "after compute.finish_resize",
]
CONFIRMING = [
    "before compute.confirm_resize",
    "before tracker.drop_move_claim",
    "after tracker.drop_move_claim",
    "after allocation.delete",
]
REVERTING = [
    "before compute.revert_resize",
    "before tracker.drop_move_claim_at_dest",
    "after tracker.drop_move_claim_at_dest",
    "after allocation.give_back",
    "before hypervisor.start",
]


def delete_while_held(cloud: Cloud, stage: str, operation: str, **arguments: str) -> None:
    held = cloud.hold(stage, actor="req-move")
    cloud.do(operation, "vm", actor="req-move", **arguments)
    hit = cloud.struck(held)
    assert cloud.do("server.delete", "vm")["status"] == 204
    hit.release()
    assert [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]
    assert {move.status for move in cloud.settled().migrations} <= {
        "error", "confirmed", "reverted"
    }  # fmt: skip


@pytest.mark.parametrize("stage", RESIZING)
def test_a_server_deleted_amid_its_resize_leaves_nothing(
    cloud: Cloud, server: str, stage: str
) -> None:
    delete_while_held(cloud, stage, "server.resize", flavor="m1.small")


@pytest.mark.parametrize(
    ("stage", "decision"),
    [(stage, "server.confirm_resize") for stage in CONFIRMING]
    + [(stage, "server.revert_resize") for stage in REVERTING],
)
def test_a_server_deleted_amid_the_decision_leaves_nothing(
    cloud: Cloud, server: str, stage: str, decision: str
) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    delete_while_held(cloud, stage, decision)


def test_a_server_deleted_before_the_decision_leaves_nothing(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.do("server.delete", "vm")
    assert [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]
    assert [move.status for move in cloud.settled().migrations] == ["confirmed"]


def test_a_volume_detached_before_the_revert_stays_detached(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.do("volume.detach", "vm", "data", wait="available")
    cloud.do("server.revert_resize", "vm", wait="ACTIVE")
    assert [guest.disks for guest in cloud.settled().guests] == [()]


def test_a_stopped_server_stays_stopped(cloud: Cloud, server: str) -> None:
    cloud.do("server.stop", "vm", wait="SHUTOFF")
    cloud.do("server.migrate", "vm", wait="VERIFY_RESIZE")
    cloud.do("server.confirm_resize", "vm", wait="SHUTOFF")
    cloud.do("server.expect", "vm", host="host2", power_state="shutdown")
    assert guests(cloud.settled()) == {"host2": "shutdown"}


def test_a_server_for_which_there_is_no_other_host_stays_as_it_was(
    cloud: Cloud, server: str
) -> None:
    cloud.do("server.migrate", "vm", host="host3")
    world = cloud.settled()
    assert [m.status for m in world.migrations] == ["error"]
    assert held(world) == {(server, "host1"): TINY}
    cloud.do("server.expect", "vm", status="ACTIVE", host="host1", task_state="none")


def test_of_a_confirm_and_a_revert_one_is_refused(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    held = cloud.hold("before instance.save", actor="req-confirm", services="api*")
    confirm = cloud.begin("server.confirm_resize", "vm", actor="req-confirm")
    hit = cloud.struck(held)
    cloud.do("server.revert_resize", "vm", wait="ACTIVE")
    hit.release()
    with pytest.raises(OperationFailed, match="409"):
        confirm.result()
    cloud.do("server.expect", "vm", host="host1")


def test_a_resized_server_has_its_place_on_both_hosts(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    world = cloud.settled()
    (migration,) = world.migrations
    assert (migration.status, migration.source, migration.dest) == ("finished", "host1", "host2")
    assert held(world) == {(migration.uuid, "host1"): TINY, (server, "host2"): SMALL}
    assert used(world) == {"host1": TINY, "host2": SMALL}
    assert guests(world) == {"host1": "shutdown", "host2": "running"}
    assert {port.host for port in world.ports} == {"host2"}
    cloud.do("server.expect", "vm", host="host2", power_state="running")


def test_a_confirmed_resize_leaves_nothing_at_the_source(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.do("server.confirm_resize", "vm", wait="ACTIVE")
    world = cloud.settled()
    assert [m.status for m in world.migrations] == ["confirmed"]
    assert held(world) == {(server, "host2"): SMALL}
    assert used(world) == {"host1": NOTHING, "host2": SMALL}
    assert guests(world) == {"host2": "running"}


def test_a_reverted_resize_is_as_if_it_had_not_been(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.do("server.revert_resize", "vm", wait="ACTIVE")
    world = cloud.settled()
    assert [m.status for m in world.migrations] == ["reverted"]
    assert held(world) == {(server, "host1"): TINY}
    assert used(world) == {"host1": TINY, "host2": NOTHING}
    assert guests(world) == {"host1": "running"}
    assert {port.host for port in world.ports} == {"host1"}
    assert [len(guest.disks) for guest in world.guests] == [1]


REFUSED = Action.error(
    "targets.reference.nova.usage:ComputeResourcesUnavailable", "there is no room"
)


def test_a_build_that_its_host_refuses_goes_to_the_next_one(cloud: Cloud) -> None:
    refusal = cloud.arm("before tracker.instance_claim", REFUSED, times=1)
    cloud.do("server.create", "vm")
    cloud.struck(refusal)
    world = cloud.settled()
    assert {(a.provider) for a in world.allocations} == {"host2"}
    assert used(world) == {"host1": NOTHING, "host2": TINY}
    cloud.do("server.expect", "vm", host="host2")


def test_a_server_that_every_host_refuses_is_buried(cloud: Cloud) -> None:
    cloud.do("volume.create", "data")
    refusal = cloud.arm("before tracker.instance_claim", REFUSED, times=2)
    cloud.do("server.create", "vm", wait="ERROR", volumes=["data"])
    cloud.struck(refusal)
    assert cloud.settled().allocations == ()
    cloud.do("server.delete", "vm")
    assert [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]


def test_a_move_that_every_host_refuses_leaves_the_server_as_it_was(
    cloud: Cloud, server: str
) -> None:
    refusal = cloud.arm("before tracker.resize_claim", REFUSED, times=2)
    cloud.do("server.resize", "vm", "m1.small")
    cloud.struck(refusal)
    world = cloud.settled()
    assert [m.status for m in world.migrations] == ["error"]
    assert held(world) == {(server, "host1"): TINY}
    cloud.do("server.expect", "vm", status="ACTIVE", host="host1", task_state="none")


def test_a_resize_that_the_other_host_refuses_stays_on_its_own(cloud: Cloud, server: str) -> None:
    refusal = cloud.arm("before tracker.resize_claim", REFUSED, times=1, services="compute-host2")
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.struck(refusal)
    world = cloud.settled()
    (migration,) = world.migrations
    assert held(world) == {(migration.uuid, "host1"): TINY, (server, "host1"): SMALL}
    assert used(world) == {"host1": BOTH, "host2": NOTHING}
    cloud.do("server.revert_resize", "vm", wait="ACTIVE")
    world = cloud.settled()
    assert held(world) == {(server, "host1"): TINY}
    assert used(world) == {"host1": TINY, "host2": NOTHING}
    assert guests(world) == {"host1": "running"}


def test_a_move_that_nobody_decides_about_is_confirmed_by_a_periodic_task(
    cloud: Cloud, server: str
) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    cloud.do("compute.tick", "host2", "poll_unconfirmed_resizes")
    cloud.do("server.wait", "vm", "ACTIVE")
    assert [m.status for m in cloud.settled().migrations] == ["confirmed"]


def test_the_periodic_task_finds_nothing_to_correct(cloud: Cloud, server: str) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    before = cloud.settled()
    for host in ("host1", "host2"):
        cloud.do("compute.tick", host, "update_available_resource")
    assert cloud.settled() == before


@pytest.mark.parametrize("down", ["host1", "host2"])
def test_a_resized_server_is_deleted_though_one_of_its_hosts_is_down(
    cloud: Cloud, server: str, down: str
) -> None:
    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    compute = cloud.target.services[f"compute-{down}"]
    compute.kill()
    cloud.do("server.delete", "vm")
    cloud.do("server.wait_gone", "vm")
    world = cloud.settled()
    assert set(used(world).values()) == {NOTHING}
    assert world.allocations == ()
    compute.start()
    assert [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]


def test_the_flavor_that_a_server_is_shown_with_is_the_one_it_has_become(
    cloud: Cloud, server: str
) -> None:
    def shown() -> str:
        found: dict[str, Any] = cloud.target.client().compute.get(f"/servers/{server}").json()
        return str(found["server"]["flavor"]["id"])

    cloud.do("server.resize", "vm", "m1.small", wait="VERIFY_RESIZE")
    assert shown() == "2"
    cloud.do("server.revert_resize", "vm", wait="ACTIVE")
    assert shown() == "1"
