"""The controller by itself: whom it trusts, what it tells, when."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
import threading

import pytest

from chaos.action import Action
from chaos.errors import NotReady
from chaos.failpoints import switchboard
from chaos.failpoints.controller import ArmRequest, Controller, Hit
from chaos.point import When

from .conftest import DEADLINE_S, CallFailed, Launch, Service, ServiceDied, point


def connect(controller: Controller) -> socket.socket:
    host, _, port = controller.environment("x")["CHAOS_CONTROLLER"].partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize(
    "said",
    [
        json.dumps({"is": "hello", "token": "guess", "service": "shop", "pid": 1}) + "\n",
        json.dumps({"is": "hello", "service": "shop", "pid": 1}) + "\n",
        json.dumps({"is": "hit", "hit": 1, "arm": 1}) + "\n",
        "GET / HTTP/1.1\r\n\r\n",
        "[1]\n",
        "x" * 5000,
    ],
    ids=["wrong token", "no token", "no hello", "http", "no object", "no end"],
)
def test_a_stranger_is_refused_and_logged(
    controller: Controller, service: Service, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    with caplog.at_level(logging.WARNING), connect(controller) as stranger:
        stranger.sendall(said.encode())
        assert _answer(stranger) == b""
    assert "refused a connection" in caplog.text
    assert controller.connected == {"shop"}
    assert arm.hits == ()


def _answer(stranger: socket.socket) -> bytes:
    try:
        return stranger.recv(1000)
    except ConnectionResetError:  # closed with our words unread
        return b""


def test_a_stranger_does_not_disturb_the_services(controller: Controller, service: Service) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), times=None)
    with connect(controller) as stranger:
        stranger.sendall(b"nonsense\n")
        assert _answer(stranger) == b""
    assert service.ask("plain(1)") == "struck"


def test_the_socket_is_on_loopback_only(controller: Controller) -> None:
    assert controller._switchboard.address[0] == "127.0.0.1"


def test_a_hit_is_told_before_it_acts(launch: Launch) -> None:
    """A slow journal cannot lose the evidence of a crash."""
    alive: list[bool] = []

    def on_hit(hit: Hit) -> None:
        threading.Event().wait(0.05)
        os.kill(hit.pid, 0)
        alive.append(True)

    with Controller(label="test", on_hit=on_hit) as controller:
        service = launch(by=controller)
        controller.arm(point("plain"), When.BEFORE, Action.crash())
        with pytest.raises(ServiceDied):
            service.ask("plain(1)")
        assert alive == [True]
        service.stop()


def test_an_exception_of_on_hit_does_not_stop_the_controller(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    def on_hit(hit: Hit) -> None:
        raise ValueError("disk full")

    with Controller(label="test", on_hit=on_hit) as controller:
        service = launch(by=controller)
        arm = controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), times=2)
        assert service.ask("[plain(1), plain(1)]") == ["struck", "struck"]
        assert len(arm.hits) == 2
        service.stop()
    assert "disk full" in caplog.text


def test_on_hit_may_release_the_hit(launch: Launch) -> None:
    with Controller(label="test", on_hit=lambda hit: hit.release()) as controller:
        service = launch(by=controller)
        controller.arm(point("plain"), When.BEFORE, Action.pause())
        assert service.ask("plain(7)") == 7
        service.stop()


def test_waiting_for_a_service_that_does_not_come_names_it(controller: Controller) -> None:
    with pytest.raises(NotReady, match=r"no failpoint agent connected within 0.05 s from: ghost"):
        controller.wait_connected(["ghost"], 0.05)


def test_a_dead_service_is_not_connected(controller: Controller, service: Service) -> None:
    assert controller.connected == {"shop"}
    service.process.send_signal(signal.SIGKILL)
    with controller._changed:
        assert controller._changed.wait_for(lambda: not controller.connected, 5)


def test_many_points_are_armed_at_once(controller: Controller, launch: Launch) -> None:
    services = [launch("a"), launch("b")]
    names = ["plain", "fetch", "count", "closure", "Shop.method", "Shop.static", "Shop.klass"]
    arms = controller.arm_all(
        ArmRequest(point(name), when, Action.record(), times=None)
        for name in names
        for when in When
    )
    assert len(arms) == 14
    for service in services:
        service.ask("Shop.klass(Shop.static(plain(1)))")
    by_name = {(arm.alias, arm.request.when): arm for arm in arms}
    for name in ("plain", "Shop.static", "Shop.klass"):
        for when in When:
            assert by_name[f"shop:{name}", when].wait(5, number=2) is not None


def test_a_wrong_call_of_an_armed_function_is_no_hit(
    controller: Controller, service: Service
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    with pytest.raises(CallFailed, match="missing 1 required positional argument"):
        service.ask("plain()")
    assert controller.armed() == {"shop": ("shop:plain",)}
    assert arm.hits == ()


def test_what_was_sent_before_is_known_after_catching_up(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    for number in range(1, 101):
        service.ask("plain(1)")  # its record was sent before its answer
        controller.catch_up()
        assert len(arm.hits) == number


def test_a_stranger_that_says_nothing_is_refused_in_time(
    controller: Controller,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(switchboard, "STRANGER_S", 0.05)
    with caplog.at_level(logging.WARNING), connect(controller) as stranger:
        assert _answer(stranger) == b""
    assert "it said nothing for 0.05 s" in caplog.text
    assert controller.connected == {"shop"}


def test_when_there_are_no_more_files_it_is_told_once_and_who_waits_is_accepted_later(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(switchboard, "FULL_S", 0.01)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with caplog.at_level(logging.WARNING), socket.socket() as agent:
        agent.settimeout(DEADLINE_S)
        resource.setrlimit(resource.RLIMIT_NOFILE, (agent.fileno(), limits[1]))
        try:
            agent.connect(controller._switchboard.address)
            controller.catch_up()
            controller.catch_up()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        hello = {"is": "hello", "token": controller._switchboard.token, "service": "s", "pid": 1}
        agent.sendall(json.dumps(hello).encode() + b"\n")
        assert b"welcome" in agent.recv(1000)
    assert caplog.text.count("no agent can connect until files are closed") == 1


def test_a_service_that_does_not_answer_fails_its_own_arms_alone_and_is_named(
    controller: Controller, launch: Launch
) -> None:
    launched = launch("lives")
    with socket.create_connection(controller._switchboard.address) as silent:
        own = {"token": controller._switchboard.token, "service": "silent", "pid": os.getpid()}
        silent.sendall(json.dumps({"is": "hello", **own}).encode() + b"\n")
        controller.wait_connected({"silent"}, 5)
        arms = controller.arm_all(
            [ArmRequest(point("plain"), When.BEFORE, Action.answer("struck"), times=None)], 0.1
        )
        assert launched.ask("plain(1)") == "struck"
        assert arms[0].state["lives"] == "armed"
        assert (
            arms[0]
            .state["silent"]
            .startswith(
                "error: no answer within 0.1 s from the failpoint agent of: silent (process "
            )
        )


def test_a_service_that_stands_still_is_armed_when_it_runs_on(
    controller: Controller, launch: Launch
) -> None:
    frozen = launch("frozen")
    frozen.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), times=None)
    assert arm.state == {"frozen": "pending"}
    frozen.process.send_signal(signal.SIGCONT)
    with controller._changed:
        assert controller._changed.wait_for(lambda: arm.state == {"frozen": "armed"}, 5)
    assert frozen.ask("plain(1)") == "struck"

    frozen.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
    arm.disarm()
    frozen.process.send_signal(signal.SIGCONT)
    assert controller.armed() == {"frozen": ()}
