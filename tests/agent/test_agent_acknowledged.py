"""A strike counts when the agent has said that it acted, no sooner and whatever comes between."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from chaos.action import Action
from chaos.failpoints.controller import ArmRequest, Controller, Hit
from chaos.point import When

from .conftest import DEADLINE_S, Launch, Service, ServiceDied, point

AGENT = "__import__('sys').modules['_chaos_agent._agent']"


class Agent:
    """An agent that says what a test makes it say."""

    def __init__(self, controller: Controller, service: str) -> None:
        environment = controller.environment(service)
        host, _, port = environment["CHAOS_CONTROLLER"].partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        self._lines = self._socket.makefile()
        self.say("hello", token=environment["CHAOS_TOKEN"], service=service, pid=1)
        self.arms = self.hear("welcome")["arms"]
        self.say("states", states={arm["arm"]: "armed" for arm in self.arms})

    def say(self, what: str, **message: Any) -> None:
        self._socket.sendall(json.dumps({"is": what, **message}).encode() + b"\n")

    def hear(self, what: str) -> dict[str, Any]:
        """The next message of this kind."""
        while True:
            message: dict[str, Any] = json.loads(self._lines.readline())
            if message["is"] == what:
                return message

    def reach(self, hit: int = 1, raised: str = "", **more: Any) -> None:
        """Say that a call came to the first arm."""
        known = {"at_ns": 5, "thread": "main", "request": None, "told": {}}
        self.say("hit", hit=hit, arm=self.arms[0]["arm"], raised=raised, **known, **more)

    def die(self) -> None:
        self._lines.close()
        self._socket.close()


Connect = Callable[..., Agent]


@pytest.fixture
def connect(controller: Controller) -> Iterator[Connect]:
    """Let an agent connect, as that of the service ``shop`` or another one."""
    connected: list[Agent] = []

    def start(service: str = "shop") -> Agent:
        connected.append(Agent(controller, service))
        controller.wait_connected([service], DEADLINE_S)
        return connected[-1]

    yield start
    for agent in connected:
        agent.die()


@pytest.fixture
def told() -> list[Hit]:
    """What ``on_hit`` was called with."""
    return []


@pytest.fixture
def controller(told: list[Hit]) -> Iterator[Controller]:
    with Controller(
        label="test", request_id_reader="shop:current_request", on_hit=told.append
    ) as running:
        yield running


# ---------------------------------------------------------------------- the controller's side


@pytest.mark.parametrize("action", [Action.pause(), Action.delay(1), Action.error("OSError", "")])
def test_a_hit_is_one_when_the_agent_has_said_that_it_acts(
    connect: Connect, controller: Controller, told: list[Hit], action: Action
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, action)
    agent = connect()
    agent.reach()
    assert agent.hear("verdict")["act"] is True
    assert (arm.matched, arm.hits, told) == (1, (), [])
    agent.say("acted", hit=1, problem="")
    agent.hear("recorded")
    assert arm.hits == tuple(told)
    assert [(hit.number, hit.at_ns) for hit in told] == [(1, 5)]


def test_a_crash_is_told_before_the_process_dies_and_is_a_hit_when_it_has_died(
    connect: Connect, controller: Controller, told: list[Hit]
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash())
    agent = connect()
    agent.reach()
    agent.hear("verdict")
    assert told == []
    agent.say("acted", hit=1, problem="")
    agent.hear("recorded")
    assert len(told) == 1
    assert arm.hits == ()
    agent.die()
    assert arm.wait(5) is told[0]


@pytest.mark.parametrize("action", [Action.crash(), Action.pause()])
def test_an_agent_that_leaves_before_it_acted_has_not_struck(
    connect: Connect, controller: Controller, told: list[Hit], action: Action
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, action)
    agent, other = connect(), connect("other")
    agent.reach()
    agent.hear("verdict")
    agent.die()
    assert other.hear("disarm")["arms"] == [arm.number]  # it is spent
    assert (arm.matched, arm.hits, told) == (1, (), [])
    assert arm.state == {"shop": "error: its agent left before it acted", "other": "armed"}


def test_an_agent_that_cannot_act_has_not_struck_and_says_why(
    connect: Connect, controller: Controller, told: list[Hit]
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.error("late:Lost", ""), times=2)
    agent = connect()
    agent.reach()
    agent.hear("verdict")
    agent.say("acted", hit=1, problem="no such thing")
    agent.hear("recorded")
    assert (arm.matched, arm.hits, told) == (1, (), [])
    assert arm.state == {"shop": "error: no such thing"}


def test_a_strike_that_was_allowed_is_not_disarmed_as_spent(
    connect: Connect, controller: Controller
) -> None:
    """The arm has no strikes left as soon as the last one is allowed; it goes when that acted."""
    arm = controller.arm(point("plain"), When.BEFORE, Action.drop(), times=2)
    agent, other = connect(), connect("other")
    agent.reach(1)
    agent.reach(2)
    agent.say("acted", hit=1, problem="")
    agent.hear("recorded")
    other.reach(7)
    assert other.hear("verdict") == {"is": "verdict", "hit": 7, "act": False}
    agent.say("acted", hit=2, problem="")
    assert agent.hear("disarm")["arms"] == [arm.number]  # before `recorded`: see what follows
    agent.hear("recorded")
    assert other.hear("disarm")["arms"] == [arm.number]
    assert len(arm.hits) == 2


def test_what_acted_while_a_disarm_was_under_way_is_a_hit(
    connect: Connect, controller: Controller, told: list[Hit]
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.drop(), times=9)
    agent = connect()
    agent.reach(1)
    agent.hear("verdict")
    with ThreadPoolExecutor() as threads:
        disarmed = threads.submit(arm.disarm)
        ticket = agent.hear("disarm")["ticket"]
        agent.reach(2)
        assert agent.hear("verdict")["act"] is False
        agent.say("acted", hit=1, problem="")
        agent.hear("recorded")
        assert not disarmed.done()
        agent.say("done", ticket=ticket)
        disarmed.result(5)
    assert arm.hits == tuple(told)
    assert len(told) == 1


@pytest.mark.parametrize("everything", [True, False], ids=["disarm_all", "disarm"])
def test_what_acted_unasked_while_a_disarm_was_under_way_is_a_hit(
    connect: Connect, controller: Controller, told: list[Hit], everything: bool
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    agent = connect()
    with ThreadPoolExecutor() as threads:
        disarmed = threads.submit(controller.disarm_all if everything else arm.disarm)
        ticket = agent.hear("disarm")["ticket"]
        agent.reach(problem="")
        agent.say("done", ticket=ticket)
        disarmed.result(5)
    assert arm.hits == tuple(told)
    assert len(told) == 1


def test_a_crash_under_way_is_waited_for_by_its_disarm(
    connect: Connect, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.crash())
    agent = connect()
    agent.reach()
    agent.hear("verdict")
    agent.say("acted", hit=1, problem="")
    assert agent.hear("disarm")["ticket"] == 0  # it is spent
    with ThreadPoolExecutor() as threads:
        disarmed = threads.submit(arm.disarm)
        agent.say("done", ticket=agent.hear("disarm")["ticket"])
        assert not wait([disarmed], 0.1).done
        agent.die()
        disarmed.result(5)
    assert len(arm.hits) == 1


def test_whom_disarming_everything_lets_go_is_released_at_once(
    connect: Connect, controller: Controller, told: list[Hit]
) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.pause())
    agent = connect()
    agent.reach()
    agent.say("acted", hit=1, problem="")
    assert agent.hear("disarm")["ticket"] == 0  # it is spent
    with ThreadPoolExecutor() as threads:
        disarmed = threads.submit(controller.disarm_all)
        agent.say("done", ticket=agent.hear("disarm")["ticket"])
        disarmed.result(5)
    assert [hit.released for hit in told] == [True]


def test_who_waits_for_a_hit_is_told_that_none_can_come(controller: Controller) -> None:
    arms = [controller.arm(point("plain"), When.BEFORE, Action.record()) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(arm.wait, None) for arm in arms]
        arms[0].disarm()
        assert waiting[0].result(5) is None
        controller.disarm_all()
        assert waiting[1].result(5) is None


def test_nobody_waits_for_an_agent_that_has_just_gone(
    connect: Connect, controller: Controller
) -> None:
    """It may go after it was looked up and before it is asked."""
    agent = connect()
    gone = next(iter(controller._agents))
    agent.die()
    with controller._changed:
        assert controller._changed.wait_for(lambda: not controller.connected, 5)
    assert controller._questions.ask({gone: {"is": "list"}}, DEADLINE_S) == {}


# ---------------------------------------------------------------------- the agent's side


def test_a_verdict_that_comes_too_late_is_no_strike(launch: Launch) -> None:
    """The controller is busy with the first hit for longer than the agent waits for the second."""
    busy, on = threading.Event(), threading.Event()
    told = []

    def on_hit(hit: Hit) -> None:
        told.append(hit.alias)
        busy.set()
        on.wait(DEADLINE_S)

    with Controller(label="test", on_hit=on_hit) as controller:
        service, other = launch(by=controller), launch("other", by=controller)
        service.ask(f"setattr({AGENT}, 'VERDICT_LIMIT_S', 0.05)")
        first = controller.arm(point("plain"), When.BEFORE, Action.drop(), services="other")
        late = controller.arm(point("closure"), When.BEFORE, Action.drop(), services="shop")
        answer = other.begin("plain(1)")
        assert busy.wait(5)
        assert service.ask("closure(1)") == 1
        on.set()
        assert answer.result(5) is None
        with controller._changed:
            assert controller._changed.wait_for(lambda: controller.connected == {"other"}, 5)
        assert (len(first.hits), late.hits) == (1, ())
        assert told == ["shop:plain"]
        assert late.state == {"shop": "error: its agent left before it acted"}
        service.stop()
        other.stop()


def test_a_strike_that_is_recorded_late_has_struck_all_the_same(launch: Launch) -> None:
    recording, on = threading.Event(), threading.Event()

    def on_hit(hit: Hit) -> None:
        recording.set()
        on.wait(DEADLINE_S)

    with Controller(label="test", on_hit=on_hit) as controller:
        service = launch(by=controller)
        service.ask(f"setattr({AGENT}, 'VERDICT_LIMIT_S', 0.5)")
        arm = controller.arm(point("plain"), When.BEFORE, Action.drop())
        assert service.ask("plain(1)") is None
        assert recording.is_set()
        on.set()
        assert arm.wait(5) is not None
        service.stop()


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "unasked"])
def test_a_disarm_loses_no_strike_and_allows_none_after_it(
    service: Service, controller: Controller, told: list[Hit], asked: bool
) -> None:
    """As many calls are struck as there are hits, though four threads call all the time."""
    for _ in range(6):
        told.clear()
        arm = controller.arm(
            point("plain"), When.BEFORE, Action.answer("x"), times=10**9 if asked else None
        )
        calls = [service.begin("until_stopped(plain, 1)") for _ in range(4)]
        assert arm.wait(5, number=3) is not None
        arm.disarm()
        hits = arm.hits
        service.ask("stopping.set()")
        answers = [answer for call in calls for answer in call.result(5)]
        assert answers.count("x") == len(hits)
        assert hits == arm.hits == tuple(told)
        with controller._changed:  # those that were disarmed after their verdict said so
            assert controller._changed.wait_for(lambda: not controller._referee._allowed, 5)
        service.ask("stopping.clear()")


def test_a_process_that_a_disarm_met_in_its_crash_is_a_hit(
    launch: Launch, controller: Controller
) -> None:
    for _ in range(5):
        service = launch()
        arm = controller.arm(point("plain"), When.BEFORE, Action.crash())
        answer = service.begin("plain(1)")
        arm.disarm()
        try:
            answer.result(5)
            assert arm.hits == ()
        except ServiceDied:
            assert len(arm.hits) == 1
        service.stop()


def test_a_call_that_was_under_way_at_the_disarm_is_not_struck_after_it(
    service: Service, controller: Controller
) -> None:
    arms = controller.arm_all(
        ArmRequest(point("takes"), When.AFTER, action, times=None)
        for action in (Action.record(), Action.pause())
    )
    answer = service.begin("takes()")
    assert service.ask("entered.wait(5)")
    for arm in arms:
        arm.disarm()
    service.ask("shelf.put(7)")
    assert answer.result(5) == 7
    assert controller.armed() == {"shop": ()}  # a round trip after all that was said
    assert [arm.hits for arm in arms] == [(), ()]


def test_a_hit_tells_the_time_of_the_agent(service: Service, controller: Controller) -> None:
    """Not of its arrival: the controller cannot hear while it is busy."""
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    before, _, after = service.ask(
        "(lambda now: [now(), plain(1), now()])(__import__('time').monotonic_ns)"
    )
    hit = arm.wait(5)
    assert hit is not None
    assert before <= hit.at_ns <= after
