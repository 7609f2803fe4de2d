"""Guests are paused, and do things by themselves; the records follow."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.operation import OperationFailed, OperationIndeterminate
from tests.reference.nova.conftest import Cloud

SYNC = {"host": "host1", "task": "sync_power_states"}


@pytest.fixture
def vm(cloud: Cloud) -> Cloud:
    cloud.do("server.create", "vm")
    return cloud


def seen(cloud: Cloud) -> tuple[str, str | None, str]:
    """A server's VM state, its task and what its guest does."""
    world = cloud.settled()
    (instance,), (guest,) = world.instances, world.guests
    return instance.vm_state, instance.task_state, guest.power


def test_a_paused_server_stands_still_until_it_is_unpaused(vm: Cloud) -> None:
    vm.do("server.pause", "vm", wait="PAUSED")
    assert seen(vm) == ("paused", None, "paused")
    vm.do("server.expect", "vm", power_state="paused")
    vm.do("server.unpause", "vm", wait="ACTIVE")
    assert seen(vm) == ("active", None, "running")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("server.pause", "server.pause"),
        ("server.pause", "server.stop"),
        ("server.stop", "server.pause"),
        ("server.stop", "server.unpause"),
    ],
)
def test_what_does_not_run_is_not_paused_and_what_is_not_paused_does_not_go_on(
    vm: Cloud, given: str, refused: str
) -> None:
    vm.do(given, "vm", wait="PAUSED" if given == "server.pause" else "SHUTOFF")
    with pytest.raises(OperationFailed) as conflict:
        vm.do(refused, "vm")
    assert conflict.value.status == 409


def test_a_paused_server_may_be_rebooted_hard(vm: Cloud) -> None:
    vm.do("server.pause", "vm", wait="PAUSED")
    vm.do("server.reboot", "vm", type="HARD", wait="ACTIVE")
    assert seen(vm) == ("active", None, "running")


@pytest.mark.parametrize("fate", ["guest.crash", "guest.shutdown"])
@pytest.mark.parametrize("paused", [False, True])
def test_a_server_whose_guest_died_is_stopped_by_the_periodic_task(
    vm: Cloud, fate: str, paused: bool
) -> None:
    if paused:
        vm.do("server.pause", "vm", wait="PAUSED")
    vm.do(fate, "vm")
    assert vm.do("compute.tick", **SYNC) == {"host": "host1"}
    vm.do("server.expect", "vm", status="SHUTOFF", task_state="none")
    (stopped,) = [action for action in vm.settled().actions if action.action == "stop"]
    assert (stopped.finished, stopped.result) == (True, "Success")


def test_the_periodic_task_leaves_a_server_alone_with_which_something_is_being_done(
    vm: Cloud,
) -> None:
    held = vm.hold("before hypervisor.start", actor="req-user")
    vm.do("server.reboot", "vm", actor="req-user")
    hit = vm.struck(held)
    vm.do("compute.tick", **SYNC)  # the guest is shut down
    vm.do("server.expect", "vm", status="REBOOT")
    hit.release()
    assert seen(vm) == ("active", None, "running")


def test_a_tick_that_its_compute_does_not_survive_has_no_answer(vm: Cloud) -> None:
    crash = vm.arm("before periodic.record_power_state", Action.crash())
    with pytest.raises(OperationIndeterminate, match="run_periodic_task of"):
        vm.do("compute.tick", **SYNC)
    vm.restart(vm.struck(crash))


def test_a_task_that_does_not_exist_is_refused(cloud: Cloud) -> None:
    with pytest.raises(OperationFailed, match="no periodic task `sleep`"):
        cloud.do("compute.tick", host="host1", task="sleep")


def test_a_guest_that_does_not_exist_has_no_fate(vm: Cloud) -> None:
    vm.settled()
    vm.target.client().compute.delete_server(vm.target.observe().instances[0].uuid)
    vm.settled()
    with pytest.raises(OperationFailed, match="no hypervisor has a guest"):
        vm.do("guest.crash", "vm")


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_a_guest_that_runs_is_not_touched_for_a_reboot_that_was_as_good_as_done(
    vm: Cloud, kind: str
) -> None:
    crash = vm.arm("after hypervisor.start", Action.crash())
    vm.do("server.reboot", "vm", type=kind)
    hit = vm.struck(crash)
    touched = [
        vm.arm(f"before hypervisor.{step}", Action.record(), actor=None)
        for step in ("shutdown", "power_off", "define", "start")
    ]
    vm.restart(hit)
    assert seen(vm) == ("active", None, "running")
    assert not any(arm.wait(0) for arm in touched)
