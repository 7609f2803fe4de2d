"""A service dies in the middle of an operation; started again, it brings the server to rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.action import Action
from chaos.errors import NotReady
from chaos.operation import OperationFailed
from targets.cloud.world import CloudWorld
from tests.reference.nova.conftest import Cloud

Given = Callable[[Cloud], None]


def server(cloud: Cloud) -> None:
    cloud.do("server.create", "vm")


def stopped(cloud: Cloud) -> None:
    server(cloud)
    cloud.do("server.stop", "vm", wait="SHUTOFF")


def volume(cloud: Cloud) -> None:
    cloud.do("volume.create", "data")


def server_and_volume(cloud: Cloud) -> None:
    volume(cloud)
    server(cloud)


def server_with_volume(cloud: Cloud) -> None:
    server_and_volume(cloud)
    cloud.do("volume.attach", "vm", "data", delete_on_termination=True)


def state(world: CloudWorld) -> list[tuple[str, str | None, str]]:
    guests = {guest.uuid: guest.power for guest in world.guests}
    return [(i.vm_state, i.task_state, guests.get(i.uuid, "none")) for i in world.instances]


RUNNING = [("active", None, "running")]
OFF = [("stopped", None, "shutdown")]
FAILED = [("error", None, "none")]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("after build_request.create", RUNNING),
        ("before conductor.build", RUNNING),
        ("after allocation.claim", RUNNING),
        ("after instance.create", RUNNING),
        ("after instance_mapping.set_cell", RUNNING),
        ("after build_request.destroy", RUNNING),
        ("before compute.build", RUNNING),
        ("after instance.claim", FAILED),
        ("after port.create", FAILED),
        ("after hypervisor.define", FAILED),
        ("after hypervisor.start", FAILED),
    ],
)
def test_a_build_goes_on_until_a_host_has_begun_it(
    cloud: Cloud, point: str, expected: list[tuple[str, str | None, str]]
) -> None:
    crash = cloud.arm(point, Action.crash())
    cloud.try_to("server.create", "vm", wait="")
    cloud.restart(cloud.struck(crash))
    world = cloud.settled()
    assert state(world) == expected
    assert len(world.ports) == (expected == RUNNING)
    assert bool(world.allocations) == (expected == RUNNING)


@pytest.mark.parametrize(
    "point",
    [
        "after instance_mapping.queue_for_delete",
        "after instance.save",
        "before compute.terminate",
        "before hypervisor.destroy",
        "after hypervisor.destroy",
        "after port.delete",
        "after attachment.delete",
        "before bdm.destroy",
        "after allocation.delete",
        "before instance.destroy",
        "after instance.destroy",
    ],
)
def test_a_delete_that_was_begun_is_finished(cloud: Cloud, point: str) -> None:
    server_with_volume(cloud)
    crash = cloud.arm(point, Action.crash())
    cloud.try_to("server.delete", "vm")
    cloud.restart(cloud.struck(crash))
    assert cloud.left_over() == []


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
@pytest.mark.parametrize(
    "point", ["after instance.save", "before compute.reboot", "before hypervisor.start"]
)
def test_a_server_runs_after_a_reboot_that_was_cut(cloud: Cloud, kind: str, point: str) -> None:
    server(cloud)
    crash = cloud.arm(point, Action.crash())
    cloud.try_to("server.reboot", "vm", type=kind)
    cloud.restart(cloud.struck(crash))
    assert state(cloud.settled()) == RUNNING


@pytest.mark.parametrize(
    ("operation", "given", "point", "expected"),
    [
        ("server.stop", server, "before hypervisor.shutdown", OFF),
        ("server.stop", server, "after hypervisor.shutdown", OFF),
        ("server.start", stopped, "before hypervisor.start", RUNNING),
        ("server.start", stopped, "after hypervisor.start", RUNNING),
    ],
)
def test_starting_and_stopping_is_finished(
    cloud: Cloud,
    operation: str,
    given: Given,
    point: str,
    expected: list[tuple[str, str | None, str]],
) -> None:
    given(cloud)
    crash = cloud.arm(point, Action.crash())
    cloud.try_to(operation, "vm")
    cloud.restart(cloud.struck(crash))
    assert state(cloud.settled()) == expected


@pytest.mark.parametrize(
    "point",
    [
        "before compute.attach",
        "after bdm.create",
        "after attachment.create",
        "after attachment.connect",
        "after hypervisor.attach_disk",
        "after attachment.complete",
    ],
)
def test_an_attach_that_was_begun_is_finished(cloud: Cloud, point: str) -> None:
    server_and_volume(cloud)
    crash = cloud.arm(point, Action.crash())
    cloud.try_to("volume.attach", "vm", "data", wait="")
    cloud.restart(cloud.struck(crash))
    world = cloud.settled()
    assert [attachment.status for attachment in world.attachments] == ["attached"]
    assert [device.attachment for device in world.block_devices] == [world.attachments[0].id]


@pytest.mark.parametrize(
    "point", ["before compute.detach", "before attachment.delete", "before bdm.destroy"]
)
def test_a_detach_that_was_begun_is_finished_and_the_volume_is_its_users(
    cloud: Cloud, point: str
) -> None:
    server_with_volume(cloud)
    crash = cloud.arm(point, Action.crash())
    cloud.try_to("volume.detach", "vm", "data", wait="")
    hit = cloud.struck(crash)
    cloud.do("server.delete", "vm")  # while the compute is dead: it finds both begun
    cloud.restart(hit)
    assert [record.status for record in cloud.left_over()] == ["available"]


def test_a_recovery_that_is_cut_is_done_again(cloud: Cloud) -> None:
    server(cloud)
    crash = cloud.arm("before hypervisor.start", Action.crash())
    again = cloud.arm("after hypervisor.define", Action.crash(), actor=None)
    cloud.do("server.reboot", "vm")
    first = cloud.struck(crash)
    service = cloud.target.services[first.service]
    assert service.wait_dead(10)
    with pytest.raises(NotReady):
        service.start()
    cloud.restart(cloud.struck(again))
    assert state(cloud.settled()) == RUNNING


@pytest.mark.parametrize(
    ("operation", "given", "point"),
    [
        ("server.reboot", server, "before hypervisor.start"),
        ("server.delete", server, "before hypervisor.destroy"),
        ("server.delete", server, "before allocation.delete"),
    ],
)
def test_a_failure_is_recovered_without_a_restart(
    cloud: Cloud, operation: str, given: Given, point: str
) -> None:
    given(cloud)
    cut = Action.error("targets.reference.client:Unreachable", "cut")
    failure = cloud.arm(point, cut, services="compute-*")
    cloud.do(operation, "vm")
    cloud.struck(failure)
    assert state(cloud.settled()) == ([] if operation == "server.delete" else RUNNING)


@pytest.mark.parametrize(("times", "expected"), [(1, RUNNING), (2, RUNNING), (100, FAILED)])
def test_a_server_that_could_not_be_claimed_is_claimed_later_or_given_up(
    cloud: Cloud, times: int, expected: list[tuple[str, str | None, str]]
) -> None:
    cut = Action.error("targets.reference.client:Unreachable", "cut")
    failure = cloud.arm("before instance.claim", cut, times=times)
    cloud.do("server.create", "vm", wait="")
    cloud.struck(failure)
    world = cloud.settled()
    assert state(world) == expected
    assert bool(world.allocations) == (expected == RUNNING)


def test_a_guest_that_ignores_acpi_is_rebooted_hard(cloud: Cloud) -> None:
    server(cloud)
    cloud.do("guest.ignore_acpi", "vm")
    power_off = cloud.hold("before hypervisor.power_off")
    cloud.do("server.reboot", "vm", type="SOFT")
    cloud.struck(power_off).release()
    assert state(cloud.settled()) == RUNNING


def test_an_attach_without_a_volume_service_is_refused_and_undone(cloud: Cloud) -> None:
    server_and_volume(cloud)
    cloud.target.services["volume"].kill()
    with pytest.raises(OperationFailed) as refused:
        cloud.do("volume.attach", "vm", "data", wait="")
    cloud.target.services["volume"].start()
    world = cloud.settled()
    assert refused.value.status == 503
    assert (world.block_devices, world.attachments) == ((), ())


def kill_the_broker(cloud: Cloud) -> None:
    cloud.target.services["bus"].kill()
    cloud.target.services["bus"].start()


@pytest.mark.parametrize("point", ["before instance.claim", "after hypervisor.start"])
def test_a_build_under_way_outlives_the_broker(cloud: Cloud, point: str) -> None:
    held = cloud.hold(point)
    cloud.do("server.create", "vm", wait="")
    hit = cloud.struck(held)
    kill_the_broker(cloud)
    hit.release()
    assert state(cloud.settled()) == RUNNING


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("server.create", RUNNING), ("server.delete", []), ("server.stop", OFF)],
)
def test_a_message_that_is_lost_with_the_broker_is_made_up_for(
    cloud: Cloud, operation: str, expected: list[tuple[str, str | None, str]]
) -> None:
    if operation != "server.create":
        server(cloud)
        cloud.settled()  # whoever is frozen while it writes keeps everybody from writing
    computes = [cloud.target.services[f"compute-{host}"] for host in ("host1", "host2")]
    for compute in computes:
        compute.freeze()
    built = cloud.arm("after conductor.build", Action.record())
    cloud.do(operation, "vm", **({"wait": ""} if operation == "server.create" else {}))
    if operation == "server.create":
        cloud.struck(built)
    cloud.target.services["bus"].kill()
    for compute in computes:
        compute.kill()
    cloud.target.services["bus"].start()
    for compute in computes:
        compute.start()
    assert state(cloud.settled()) == expected
