"""What was asked of a server is written down, ends, and is told of."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed
from tests.reference.nova.conftest import Cloud


@pytest.fixture
def vm(cloud: Cloud) -> Cloud:
    cloud.do("server.create", "vm")
    return cloud


def told(cloud: Cloud) -> list[tuple[str, str]]:
    return [(n.event_type, n.phase) for n in cloud.settled().notifications][2:]


def done(cloud: Cloud) -> list[tuple[str, str]]:
    return [(a.action, a.result) for a in cloud.settled().actions if a.finished][1:]


def test_a_server_s_creation_is_told_of(vm: Cloud) -> None:
    world = vm.settled()
    assert [(a.action, a.result) for a in world.actions] == [("create", "Success")]
    kinds = [(n.event_type, n.phase) for n in world.notifications]
    assert kinds == [("instance.create", "start"), ("instance.create", "end")]


def test_each_operation_is_told_to_begin_and_to_end(vm: Cloud) -> None:
    vm.do("server.pause", "vm", wait="PAUSED")
    vm.do("server.unpause", "vm", wait="ACTIVE")
    vm.do("server.stop", "vm", wait="SHUTOFF")
    vm.do("server.delete", "vm")
    names = ("pause", "unpause", "power_off", "delete")
    assert told(vm) == [(f"instance.{n}", phase) for n in names for phase in ("start", "end")]


def test_the_events_of_an_action_can_be_seen(vm: Cloud) -> None:
    vm.do("server.reboot", "vm", wait="ACTIVE", actor="req-reboot")
    client = vm.target.client().compute
    (server,) = client.servers()
    path = f"/servers/{server.id}/os-instance-actions/req-reboot"
    shown = client.get(path).json()["instanceAction"]
    assert (shown["action"], shown["events"][0]["event"]) == ("reboot", "compute_reboot")
    assert (shown["events"][0]["result"], len(shown["events"])) == ("Success", 1)


@pytest.mark.parametrize(
    ("point", "pair"),
    [
        ("before compute.reboot", []),
        ("after hypervisor.shutdown", ["start", "end"]),
        ("after hypervisor.start", ["start", "error"]),
    ],
)
def test_what_a_crash_cut_off_is_told_to_end_by_whoever_goes_on(
    vm: Cloud, point: str, pair: list[str]
) -> None:
    crash = vm.arm(point, Action.crash())
    vm.do("server.reboot", "vm")
    vm.restart(vm.struck(crash))
    vm.settled()
    assert [phase for _, phase in told(vm)] in (pair, ["start", "end"])
    assert len(done(vm)) == 1


def test_a_delete_that_is_asked_for_while_another_ends_is_over_with_it(vm: Cloud) -> None:
    held = vm.hold("before instance.destroy", actor="req-first", services="compute-*")
    vm.do("server.delete", "vm", actor="req-first")
    hit = vm.struck(held)
    vm.do("server.delete", "vm", actor="req-second")
    hit.release()
    assert done(vm) == [("delete", "Success")] * 2
    assert told(vm) == [("instance.delete", "start"), ("instance.delete", "end")]


def test_an_attach_that_is_refused_is_an_action_that_failed(vm: Cloud) -> None:
    vm.do("volume.create", "data")
    vm.do("server.create", "other", networks="none")
    vm.do("volume.attach", "other", "data")
    with pytest.raises(OperationFailed):
        vm.do("volume.attach", "vm", "data", wait="", actor="req-refused")
    (refused,) = [a for a in vm.settled().actions if a.request == "req-refused"]
    assert (refused.action, refused.finished, refused.result) == ("attach_volume", True, "Error")
