"""Images are made of servers, and servers anew from images."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed
from tests.reference.nova.conftest import Cloud


@pytest.fixture
def vm(cloud: Cloud) -> Cloud:
    cloud.do("server.create", "vm")
    return cloud


def states(cloud: Cloud) -> list[tuple[str, str | None]]:
    return [(i.vm_state, i.task_state) for i in cloud.settled().instances]


@pytest.mark.parametrize("given", [None, "server.stop", "server.pause"])
def test_a_snapshot_holds_the_root_disk_and_the_server_is_as_before(
    vm: Cloud, given: str | None
) -> None:
    if given:
        vm.do(given, "vm", wait={"server.stop": "SHUTOFF", "server.pause": "PAUSED"}[given])
    before = states(vm)
    made = vm.do("server.snapshot", "vm", "backup")
    vm.do("image.wait", "backup")
    assert states(vm) == before
    client = vm.target.client()
    assert client.image.download_image(made["id"]).content.startswith(b"the root disk of vm")
    (image,) = vm.target.observe().images
    assert (image.name, image.instance, image.temporary) == ("backup", made["server"], False)


@pytest.mark.parametrize(
    ("point", "services", "made"),
    [
        ("after instance.save", "api", 0),
        ("before image.create", "api", 0),
        ("after image.create", "api", 1),
        ("before compute.snapshot", "compute-*", 0),
        ("after hypervisor.snapshot", "compute-*", 0),
        ("before image.upload", "compute-*", 0),
        ("after image.upload", "compute-*", 1),
    ],
)
def test_a_snapshot_that_was_cut_leaves_no_image_without_data(
    vm: Cloud, point: str, services: str, made: int
) -> None:
    crash = vm.arm(point, Action.crash(), services=services)
    vm.try_to("server.snapshot", "vm", "backup")
    vm.restart(vm.struck(crash))
    world = vm.settled()
    assert [(i.vm_state, i.task_state) for i in world.instances] == [("active", None)]
    assert [image.status for image in world.images] == ["active"] * made


@pytest.mark.parametrize("point", ["before compute.snapshot", "before image.upload"])
def test_a_server_that_is_deleted_meanwhile_leaves_no_image_without_data(
    vm: Cloud, point: str
) -> None:
    held = vm.hold(point)
    vm.do("server.snapshot", "vm", "backup")
    hit = vm.struck(held)
    vm.do("server.delete", "vm", actor="req-delete")
    hit.release()
    world = vm.settled()
    assert (world.instances, [i.status for i in world.images if i.status != "active"]) == ((), [])


def test_without_an_image_service_there_is_no_snapshot(vm: Cloud) -> None:
    vm.target.services["image"].kill()
    with pytest.raises(OperationFailed) as refused:
        vm.do("server.snapshot", "vm", "backup")
    vm.target.services["image"].start()
    assert refused.value.status == 503
    assert states(vm) == [("active", None)]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_server_is_made_anew_from_its_snapshot_and_keeps_its_volume(
    vm: Cloud, stopped: bool
) -> None:
    vm.do("volume.create", "data")
    vm.do("volume.attach", "vm", "data")
    made = vm.do("server.snapshot", "vm", "backup")
    vm.do("image.wait", "backup")
    if stopped:
        vm.do("server.stop", "vm", wait="SHUTOFF")
    vm.do("server.rebuild", "vm", image=made["id"], wait="SHUTOFF" if stopped else "ACTIVE")
    world = vm.settled()
    (guest,) = world.guests
    assert guest.disks == tuple(volume.id for volume in world.volumes)
    assert guest.power == ("shutdown" if stopped else "running")
    shown = vm.target.client().compute.get_server(world.instances[0].uuid)
    assert shown.image.id == made["id"]


def test_an_image_that_does_not_exist_is_no_image_to_rebuild_from(vm: Cloud) -> None:
    client = vm.target.client().compute
    (server,) = client.servers()
    answer = client.post(
        f"/servers/{server.id}/action", json={"rebuild": {"imageRef": "none"}}, raise_exc=False
    )
    assert (answer.status_code, "could not be found" in answer.text) == (400, True)
    assert states(vm) == [("active", None)]


@pytest.mark.parametrize(
    "point",
    [
        "before compute.rebuild",
        "after hypervisor.destroy",
        "before attachment.connect",
        "before hypervisor.spawn",
        "before attachment.complete",
    ],
)
def test_a_rebuild_that_was_cut_is_asked_for_again_by_the_user(vm: Cloud, point: str) -> None:
    vm.do("volume.create", "data")
    vm.do("volume.attach", "vm", "data")
    crash = vm.arm(point, Action.crash())
    vm.do("server.rebuild", "vm")
    vm.restart(vm.struck(crash))
    assert states(vm) == [("error", None)]
    vm.do("server.rebuild", "vm", wait="ACTIVE")
    world = vm.settled()
    assert [a.status for a in world.attachments] == ["attached"]
    assert [len(guest.disks) for guest in world.guests] == [1]
