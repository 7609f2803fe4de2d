"""What happens when one side goes away: the service must never suffer for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import When

from .conftest import PROGRAMS, Launch, Service, ServiceDied, point


@pytest.fixture
def doomed() -> Iterator[tuple[subprocess.Popen[str], Service]]:
    """A controller process that holds every call, and a service under it."""
    with subprocess.Popen(
        [sys.executable, PROGRAMS / "controlling.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        service = Service(json.loads(process.stdout.readline()))
        yield process, service
        service.stop()
        process.kill()


@pytest.mark.parametrize("call", ["plain(7)", "asyncio.run(fetch(7))"])
def test_a_killed_controller_lets_every_held_actor_go(
    doomed: tuple[subprocess.Popen[str], Service], call: str
) -> None:
    controller, service = doomed
    answers = [service.begin(call) for _ in range(3)]
    assert controller.stdout is not None
    for _ in answers:
        assert controller.stdout.readline() == "held\n"
    controller.kill()
    assert [answer.result(5) for answer in answers] == [7, 7, 7]


def test_a_service_whose_controller_was_killed_is_disarmed(
    doomed: tuple[subprocess.Popen[str], Service],
) -> None:
    controller, service = doomed
    held = service.begin("plain(7)")
    assert controller.stdout is not None
    controller.stdout.readline()
    controller.kill()
    held.result(5)
    service.ask("until_disarmed(plain)")
    constants = service.ask("[type(c).__name__ for c in plain.__code__.co_consts]")
    assert "Failpoint" not in constants


def test_closing_the_controller_lets_go_and_disarms(launch: Launch) -> None:
    with Controller(label="other") as closing:
        service = launch(by=closing)
        before = closing.armed()
        arm = closing.arm(point("plain"), When.BEFORE, Action.pause())
        answer = service.begin("plain(7)")
        assert arm.wait(5) is not None
    assert before == {"shop": ()}
    assert answer.result(5) == 7


def test_a_fork_of_the_controllers_process_does_not_keep_the_services_connected(
    launch: Launch,
) -> None:
    with Controller(label="other") as forked:
        service = launch(by=forked)
        arm = forked.arm(point("plain"), When.BEFORE, Action.pause())
        answer = service.begin("plain(7)")
        assert arm.wait(5) is not None
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(writing)
                os.read(reading, 1)  # lives until the test is over
            finally:
                os._exit(0)
    try:
        assert answer.result(5) == 7
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_disarming_lets_go_whom_the_arm_holds(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    answer = service.begin("plain(7)")
    hit = arm.wait(5)
    assert hit is not None
    arm.disarm()
    assert hit.released
    assert answer.result(5) == 7


def test_disarm_all_lets_everyone_go(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause(), times=None)
    answers = [service.begin("plain(7)") for _ in range(3)]
    assert arm.wait(5, number=3) is not None
    controller.disarm_all()
    assert [answer.result(5) for answer in answers] == [7, 7, 7]
    assert all(hit.released for hit in arm.hits)


def test_the_hits_that_a_killed_service_held_are_released(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    service.begin("plain(7)")
    hit = arm.wait(5)
    assert hit is not None
    service.stop()
    controller._changed.acquire()
    try:
        assert controller._changed.wait_for(lambda: not controller.connected, 5)
    finally:
        controller._changed.release()
    assert hit.released


def test_releasing_a_hit_of_a_dead_service_does_nothing(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    service.begin("plain(7)")
    hit = arm.wait(5)
    assert hit is not None
    service.stop()
    hit.release()
    hit.release()
    assert hit.released


def test_a_restarted_service_is_armed_again_with_the_hits_that_remain(
    launch: Launch, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash(), times=2)
    for _ in range(2):
        with pytest.raises(ServiceDied):
            launch().ask("plain(7)")
    assert launch().ask("plain(7)") == 7
    assert arm.wait(5, number=2) is not None
    assert [hit.number for hit in arm.hits] == [1, 2]


def test_occurrences_count_over_restarts(launch: Launch, controller: Controller) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("x"), occurrence=2)
    first = launch()
    assert first.ask("plain(7)") == 7
    first.stop()
    assert launch().ask("plain(7)") == "x"


def test_a_fork_inside_a_struck_call_ends_like_an_ordinary_one(
    service: Service, controller: Controller
) -> None:
    service.ask("exec('def forks(): return in_fork(str, \"child\")', vars(shop))")
    arm = controller.arm(point("forks"), When.AFTER, Action.record(), times=None)
    assert service.ask("shop.forks()") == "child"
    assert arm.wait(5) is not None
    assert len(arm.hits) == 1
