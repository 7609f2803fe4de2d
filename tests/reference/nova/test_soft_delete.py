"""A deleted server is kept for a while, where that is set."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed
from tests.reference.nova.conftest import Cloud

RECLAIM = {"host": "host1", "task": "reclaim_queued_deletes"}


@pytest.fixture
def kept(cloud: Cloud) -> Cloud:
    """A server that was deleted softly."""
    cloud.do("cloud.configure", "reclaim_instance_interval", 3600)
    cloud.do("server.create", "vm")
    cloud.do("server.delete", "vm")
    assert state(cloud) == ("soft-delete", None, "shutdown")
    return cloud


def state(cloud: Cloud) -> tuple[str, str | None, str]:
    world = cloud.settled()
    (instance,), (guest,) = world.instances, world.guests
    return instance.vm_state, instance.task_state, guest.power


def test_a_server_that_is_kept_is_in_no_list_and_can_still_be_seen(kept: Cloud) -> None:
    assert list(kept.target.client().compute.servers()) == []
    kept.do("server.expect", "vm", status="SOFT_DELETED", power_state="shutdown")


def test_a_server_that_is_kept_can_be_had_back(kept: Cloud) -> None:
    kept.do("server.restore", "vm", wait="ACTIVE")
    assert state(kept) == ("active", None, "running")
    with pytest.raises(OperationFailed) as conflict:
        kept.do("server.restore", "vm")
    assert conflict.value.status == 409


@pytest.mark.parametrize("again", ["server.delete", "server.force_delete"])
def test_whoever_deletes_it_again_is_rid_of_it(kept: Cloud, again: str) -> None:
    kept.do(again, "vm")
    assert kept.left_over() == []


def test_whoever_forces_a_delete_is_rid_of_it_at_once(cloud: Cloud) -> None:
    cloud.do("cloud.configure", "reclaim_instance_interval", 3600)
    cloud.do("server.create", "vm")
    cloud.do("server.force_delete", "vm")
    assert cloud.left_over() == []


def test_the_periodic_task_deletes_it_for_good(kept: Cloud) -> None:
    kept.do("compute.tick", **RECLAIM)
    assert kept.left_over() == []


@pytest.mark.parametrize(
    ("operation", "point", "expected"),
    [
        ("server.restore", "before compute.restore", ("active", None, "running")),
        ("server.restore", "after hypervisor.start", ("active", None, "running")),
    ],
)
def test_a_restore_that_was_cut_is_finished(
    kept: Cloud, operation: str, point: str, expected: tuple[str, str | None, str]
) -> None:
    crash = kept.arm(point, Action.crash())
    kept.do(operation, "vm")
    kept.restart(kept.struck(crash))
    assert state(kept) == expected


@pytest.mark.parametrize(
    "point",
    ["before compute.soft_delete", "before hypervisor.power_off", "after hypervisor.power_off"],
)
def test_a_soft_delete_that_was_cut_is_finished(cloud: Cloud, point: str) -> None:
    cloud.do("cloud.configure", "reclaim_instance_interval", 3600)
    cloud.do("server.create", "vm")
    crash = cloud.arm(point, Action.crash())
    cloud.do("server.delete", "vm")
    cloud.restart(cloud.struck(crash))
    assert state(cloud) == ("soft-delete", None, "shutdown")


@pytest.mark.parametrize(
    "point", ["before periodic.reclaim", "before hypervisor.destroy", "before instance.destroy"]
)
def test_a_reclaim_that_was_cut_is_finished_by_the_next(kept: Cloud, point: str) -> None:
    crash = kept.arm(point, Action.crash())
    kept.try_to("compute.tick", **RECLAIM)
    kept.restart(kept.struck(crash))
    kept.do("compute.tick", **RECLAIM)
    assert kept.left_over() == []


def test_a_setting_that_does_not_exist_is_refused(cloud: Cloud) -> None:
    with pytest.raises(OperationFailed, match="no setting `speed`"):
        cloud.do("cloud.configure", "speed", 9)
