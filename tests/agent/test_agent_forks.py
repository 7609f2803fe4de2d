"""Every process of a service is an agent of its own, from its beginning to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import Point, When

from .conftest import DEADLINE_S, PROGRAMS, Launch, Service, ServiceDied, point


def processes(controller: Controller) -> int:
    controller.catch_up()
    with controller._changed:
        return len(controller._agents)


def until_there_are(controller: Controller, number: int) -> bool:
    with controller._changed:
        return controller._changed.wait_for(lambda: len(controller._agents) == number, DEADLINE_S)


def test_a_forked_child_is_struck_from_its_beginning(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    assert service.ask("in_fork(plain, 7)") == "x"
    assert service.ask("plain(7)") == "x"
    assert arm.wait(DEADLINE_S, number=2) is not None
    assert sorted(hit.pid == service.pid for hit in arm.hits) == [False, True]


def test_a_grandchild_is_struck_too(service: Service, controller: Controller) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    assert service.ask("in_fork(in_fork, plain, 7)") == "x"


@pytest.mark.parametrize("way", ["family.os.fork", "family.fork_behind_python"])
def test_a_child_speaks_for_itself(service: Service, controller: Controller, way: str) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    child = service.ask(f"family.fork(fork={way})")
    assert service.ask("family.ask('child', 'plain(7)')") == "x"
    assert service.ask("plain(7)") == "x"
    assert arm.wait(DEADLINE_S, number=2) is not None
    assert {hit.pid for hit in arm.hits} == {child, service.pid}


def test_what_is_armed_after_a_fork_is_armed_in_the_child(
    service: Service, controller: Controller
) -> None:
    for number in range(20):
        service.ask(f"family.fork({number})")
        arm = controller.arm(point("plain"), When.BEFORE, Action.answer(number), times=None)
        assert service.ask(f"family.ask({number}, 'plain(7)')") == number
        arm.disarm()


def test_what_is_disarmed_after_a_fork_is_disarmed_in_the_child(
    service: Service, controller: Controller
) -> None:
    for number in range(20):
        arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
        service.ask(f"family.fork({number})")
        arm.disarm()
        assert service.ask(f"family.ask({number}, 'plain(7)')") == 7


def test_occurrences_count_exactly_over_all_processes(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), occurrence=60, times=3)
    for number in range(4):
        service.ask(f"family.fork({number})")
    calls = "results(plain, *range(20))"
    answers = [service.begin(f"family.ask({number}, {calls!r})") for number in range(4)]
    everything = [value for answer in answers for value in answer.result(DEADLINE_S)]
    assert everything.count("x") == 3
    assert arm.matched == 62
    assert len(arm.hits) == 3


def test_a_crash_in_a_child_is_its_death_alone(service: Service, controller: Controller) -> None:
    child = service.ask("family.fork()")
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash())
    assert service.ask("family.ask('child', 'plain(7)')") is None
    hit = arm.wait(DEADLINE_S)
    assert hit is not None
    assert hit.pid == child
    assert service.ask("plain(7)") == 7


def test_a_crash_of_the_service_in_a_child_is_the_death_of_all(
    service: Service, controller: Controller
) -> None:
    child = service.ask("family.fork()")
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash("service"))
    with pytest.raises(ServiceDied):
        service.ask("family.ask('child', 'plain(7)')")
    hit = arm.wait(DEADLINE_S)
    assert hit is not None
    assert (hit.pid, hit.main) == (child, False)
    assert until_there_are(controller, 0)


def test_a_crash_of_a_service_that_leads_no_group_strikes_nobody(controller: Controller) -> None:
    """Whoever else is in the group would die with it."""
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash("service"))
    program = f"exec {sys.executable} -c 'import shop; print(shop.plain(7))' & wait"
    environment = {**os.environ, **controller.environment("shop")}
    said = subprocess.check_output(
        ["sh", "-c", program], cwd=PROGRAMS, env=environment, start_new_session=True, text=True
    )
    assert said == "7\n"
    assert "leads no process group" in arm.state["shop"]


def test_a_pause_in_a_child_holds_nobody_else(service: Service, controller: Controller) -> None:
    service.ask("family.fork()")
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    answer = service.begin("family.ask('child', 'plain(7)')")
    hit = arm.wait(DEADLINE_S)
    assert hit is not None
    assert service.ask("plain(8)") == 8
    hit.release()
    assert answer.result(DEADLINE_S) == 7


def test_who_is_held_in_the_parent_stays_held_when_it_forks(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    held = service.begin("plain(7)")
    hit = arm.wait(DEADLINE_S)
    assert hit is not None
    assert service.ask("in_fork(plain, 8)") == "8"
    assert not hit.released
    hit.release()
    assert held.result(DEADLINE_S) == 7


def test_armed_in_any_process_is_armed(service: Service, controller: Controller) -> None:
    service.ask("family.fork()")
    service.ask("family.ask('child', '__import__(\"late\").late(1)')")
    arm = controller.arm(Point("late:late"), When.BEFORE, Action.answer("x"))
    assert arm.state == {"shop": "armed"}
    service.ask("family.fork('other')")
    controller.catch_up()
    assert arm.state == {"shop": "armed"}
    assert service.ask("family.ask('child', '__import__(\"late\").late(1)')") == "x"


def test_what_a_process_said_that_has_ended_counts_no_more(
    service: Service, launch: Launch, controller: Controller
) -> None:
    service.ask("__import__('late').late(1)")
    arm = controller.arm(Point("late:late"), When.BEFORE, Action.answer("x"))
    assert arm.state == {"shop": "armed"}
    service.stop()
    launch()
    assert arm.state == {"shop": "pending"}


def test_helpers_that_live_shortly_leave_nothing(service: Service, controller: Controller) -> None:
    service.ask("[family.short_lived() for _ in range(50)]")
    assert until_there_are(controller, 1)
    assert service.ask("plain(7)") == 7


def test_a_fork_after_the_controller_has_gone_costs_no_word(launch: Launch) -> None:
    with Controller(label="other") as closing:
        service = launch(by=closing)
        closing.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    service.ask("until_disarmed(plain)")
    assert service.ask("in_fork(plain, 7)") == "7"
    assert service.stop() == ""


def test_a_child_whose_controller_goes_is_disarmed(launch: Launch) -> None:
    with Controller(label="other") as closing:
        service = launch(by=closing)
        closing.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
        service.ask("family.fork()")
    service.ask("family.ask('child', 'until_disarmed(plain)')")
    assert service.ask("family.ask('child', 'plain(7)')") == 7
    assert service.stop() == ""


@pytest.mark.parametrize("first", ["hit", "arm"])
def test_a_daemon_that_closes_all_files_stays_armed_and_keeps_its_own(
    service: Service, controller: Controller, first: str
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    service.ask("family.fork()")
    assert service.ask("family.ask('child', 'plain(7)')") == "x"
    service.ask("family.ask('child', 'close_all_files()')")
    if first == "arm":
        arm.disarm()
        assert service.ask("family.ask('child', 'plain(7)')") == 7
        assert until_there_are(controller, 2)  # it has connected again
        controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=None)
    assert service.ask("family.ask('child', 'plain(7)')") == "x"
    assert set(service.ask("family.ask('child', 'sizes()')")) == {0}
    assert service.ask("family.ask('child', 'plain(7)')") == "x"


def test_a_signal_that_the_service_waits_for_is_not_taken(controller: Controller) -> None:
    program = "import family; print(family.wait_for_signal())"
    environment = {**os.environ, **controller.environment("shop")}
    said = subprocess.check_output(
        [sys.executable, "-c", program], cwd=PROGRAMS, env=environment, text=True
    )
    assert said.strip() == str(int(signal.SIGUSR1))


def test_a_signal_that_a_child_waits_for_is_not_taken(service: Service) -> None:
    service.ask("family.fork()")
    assert service.ask("family.ask('child', 'wait_for_signal()')") == signal.SIGUSR1


def test_who_joins_all_threads_does_not_wait_for_the_agent(service: Service) -> None:
    service.ask("family.fork()")
    assert service.ask("family.ask('child', 'join_all_threads()')") == "joined"


def test_a_process_forked_from_a_warm_parent_starts_and_stops_the_agent(
    controller: Controller,
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), times=None)
    said = subprocess.check_output(
        [sys.executable, PROGRAMS / "forking.py", json.dumps(controller.environment("shop"))],
        text=True,
    )
    assert said.split() == ["struck", "untouched"]
    assert arm.state == {"shop": "armed"}
