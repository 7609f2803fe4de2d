"""Every kind of server of several processes, and everything that can be done to it.

docs/processes.md has the table.
"""

from __future__ import annotations

import importlib.util
import os
import select
import time
from collections.abc import Iterator

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import Point, When
from tests.processes.servers import absent

from .systems import LIMIT_S, ONE_PROCESS, SYSTEMS, NotAnswered, System

WORK = Point("mill:work")
MODULES = {"uwsgi": "uwsgidecorators"}
"""Whose package has another name."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with Controller(label="test", request_id_reader="mill:current_request") as running:
        yield running


@pytest.fixture(scope="module", params=SYSTEMS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    wanted = name.split()
    for package in {MODULES.get(wanted[0], wanted[0]), *({"gevent", "eventlet"} & {*wanted})}:
        if importlib.util.find_spec(package) is None:
            absent(f"{package} is not installed")
    return name


@pytest.fixture(scope="module")
def system(
    name: str, controller: Controller, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    kind, command = SYSTEMS[name]
    directory = tmp_path_factory.mktemp("system")
    system = kind(command, controller.environment(name), directory)
    try:
        system.wait_ready()
        wait_for_workers(system, controller, 1 if name in ONE_PROCESS else 2)
        yield system
    finally:
        system.stop()


def wait_for_workers(system: System, controller: Controller, number: int) -> None:
    """Keep it at work until so many processes have imported what they work with."""
    arm = controller.arm(WORK, When.BEFORE, Action.record(), times=None)
    seen: set[int] = set()
    until = time.monotonic() + LIMIT_S
    while len(seen) < number:
        assert time.monotonic() < until, f"only {seen} work: {arm.state}"
        for answer in [system.begin("first") for _ in range(4)]:
            seen.add(int(answer.result(LIMIT_S).split()[0]))
    arm.disarm()


@pytest.fixture(autouse=True)
def armed_no_more(controller: Controller) -> Iterator[None]:
    yield
    controller.disarm_all()


def test_every_call_is_recorded(name: str, system: System, controller: Controller) -> None:
    arm = controller.arm(WORK, When.BEFORE, Action.record(["value"]), times=None, services=name)
    answers = [system.begin(f"v{number}") for number in range(20)]
    pids = {int(answer.result(LIMIT_S).split()[0]) for answer in answers}
    assert arm.wait(LIMIT_S, number=20) is not None
    assert {hit.pid for hit in arm.hits} == pids
    assert {hit.told["value"] for hit in arm.hits} == {f"v{number}" for number in range(20)}
    assert arm.state == {name: "armed"}


def test_the_nth_call_is_struck_and_no_other(
    name: str, system: System, controller: Controller
) -> None:
    arm = controller.arm(
        WORK, When.BEFORE, Action.answer("struck"), occurrence=7, times=2, services=name
    )
    answers = [system.begin("v") for _ in range(20)]
    values = [answer.result(LIMIT_S).split()[1] for answer in answers]
    assert sorted(values) == ["struck"] * 2 + ["v"] * 18
    assert len(arm.hits) == 2


def test_only_one_request_is_struck(name: str, system: System, controller: Controller) -> None:
    arm = controller.arm(
        WORK, When.BEFORE, Action.answer("struck"), requests=("r3",), times=None, services=name
    )
    answers = [system.begin("v", f"r{number}") for number in range(6)]
    values = [answer.result(LIMIT_S).split()[1] for answer in answers]
    assert values == ["v", "v", "v", "struck", "v", "v"]
    assert arm.wait(LIMIT_S) is not None
    assert [hit.request for hit in arm.hits] == ["r3"]


def test_who_is_held_holds_up_nobody_else(
    name: str, system: System, controller: Controller
) -> None:
    arm = controller.arm(WORK, When.BEFORE, Action.pause(LIMIT_S), services=name)
    held = system.begin("held")
    hit = arm.wait(LIMIT_S)
    assert hit is not None
    assert system.ask("other").split()[1] == "other"
    assert not hit.released
    hit.release()
    assert held.result(LIMIT_S) == f"{hit.pid} held"


def test_a_crash_is_the_end_of_the_process_that_came_there(
    name: str, system: System, controller: Controller
) -> None:
    """The last of the tests: who has but one process is gone."""
    arm = controller.arm(WORK, When.BEFORE, Action.crash(), services=name)
    asked = system.begin("lost")
    hit = arm.wait(LIMIT_S)
    assert hit is not None
    assert has_ended(hit.pid)
    if name not in ONE_PROCESS:
        assert not hit.main
        assert system.ask("v").split()[1] == "v"
        assert system.process.poll() is None
    if name.startswith(("gunicorn", "uvicorn", "uwsgi")):
        with pytest.raises(NotAnswered):
            asked.result(LIMIT_S)


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that need not be ours."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], LIMIT_S)[0])
    finally:
        os.close(process)
