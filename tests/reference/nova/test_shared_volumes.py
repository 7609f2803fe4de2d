"""Volumes that several servers have, and whether a volume ends with its server."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed
from tests.reference.nova.conftest import Cloud


@pytest.fixture
def shared(cloud: Cloud) -> Cloud:
    """Two servers of one host that have the same volume."""
    cloud.do("volume.create", "data", multiattach=True)
    for name in ("one", "two"):
        cloud.do("server.create", name, networks="none")
        cloud.do("volume.attach", name, "data")
    return cloud


def test_a_volume_that_is_not_for_several_is_refused_to_the_second(cloud: Cloud) -> None:
    cloud.do("volume.create", "data")
    for name in ("one", "two"):
        cloud.do("server.create", name, networks="none")
    cloud.do("volume.attach", "one", "data")
    with pytest.raises(OperationFailed) as refused:
        cloud.do("volume.attach", "two", "data", wait="")
    assert refused.value.status == 400
    assert len(cloud.settled().block_devices) == 1


def test_a_host_stays_connected_until_its_last_guest_has_lost_the_volume(shared: Cloud) -> None:
    assert len(shared.settled().attachments) == 2
    shared.do("volume.detach", "one", "data")
    world = shared.settled()
    assert ([v.status for v in world.volumes], len(world.host_connections)) == (["in-use"], 1)
    shared.do("server.delete", "two")
    world = shared.settled()
    assert ([v.status for v in world.volumes], world.host_connections) == (["available"], ())


def test_an_attach_that_two_work_on_reserves_a_shared_volume_once(cloud: Cloud) -> None:
    """A compute that takes over finds what an API that is slow has reserved, or is about to."""
    cloud.do("volume.create", "data", multiattach=True)
    cloud.do("server.create", "vm")
    held = cloud.hold("before attachment.create", services="api*")
    attach = cloud.begin("volume.attach", "vm", "data", wait="", actor="req-test")
    hit = cloud.struck(held)
    compute = cloud.target.services[f"compute-{cloud.target.observe().instances[0].host}"]
    compute.kill()
    compute.start()
    hit.release()
    attach.result()
    world = cloud.settled()
    assert [a.status for a in world.attachments] == ["attached"]
    assert [d.attachment for d in world.block_devices] == [a.id for a in world.attachments]


@pytest.mark.parametrize("ends", [True, False])
def test_whether_a_volume_ends_with_its_server_may_be_changed_later(
    cloud: Cloud, ends: bool
) -> None:
    cloud.do("volume.create", "data")
    cloud.do("server.create", "vm")
    cloud.do("volume.attach", "vm", "data", delete_on_termination=not ends)
    cloud.do("volume.keep", "vm", "data", delete_on_termination=ends)
    cloud.do("server.delete", "vm")
    assert len(cloud.settled().volumes) == (not ends)


@pytest.mark.parametrize(
    "point", ["after hypervisor.detach_disk", "before hypervisor.disconnect_volume"]
)
def test_a_host_that_died_before_it_was_disconnected_is_disconnected_later(
    cloud: Cloud, point: str
) -> None:
    cloud.do("volume.create", "data")
    cloud.do("server.create", "vm")
    cloud.do("volume.attach", "vm", "data")
    crash = cloud.arm(point, Action.crash())
    cloud.do("volume.detach", "vm", "data")
    cloud.restart(cloud.struck(crash))
    world = cloud.settled()
    assert (world.host_connections, [v.status for v in world.volumes]) == ((), ["available"])
