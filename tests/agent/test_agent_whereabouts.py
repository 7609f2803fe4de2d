"""Where the threads of hits are: the evidence that one waits inside a call."""

from __future__ import annotations

import os
import signal

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import When

from .conftest import Launch, Service, point


class Clerk:
    """A thread of the service that recorded a hit and then waits in one call after the other."""

    def __init__(self, service: Service, controller: Controller, works: str) -> None:
        self.service, self.controller = service, controller
        arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
        self.done = service.begin(works)
        hit = arm.wait(5)
        assert hit is not None
        self.hit = hit

    def place(self) -> str | None:
        return self.controller.whereabouts([self.hit]).get(self.hit)

    def stays(self, otherwise_than: str = "") -> str:
        """Its place, when it has been the same for a while; fails when that does not come."""
        same, place = 0, ""
        for _ in range(5000):
            before, place = place, self.place() or ""
            same = same + 1 if place == before != otherwise_than else 0
            if same == 20:
                return place
        raise AssertionError(f"it does not stay anywhere else: {place}")


def test_a_thread_that_waits_in_a_call_stays_in_its_place(
    service: Service, controller: Controller
) -> None:
    clerk = Clerk(service, controller, "in_request('r', serves, 1)")
    place = clerk.stays()
    assert " takes #" in place
    assert place.startswith("shop:")
    assert clerk.place() == place


def test_a_thread_that_waits_at_another_place_has_another_one(
    service: Service, controller: Controller
) -> None:
    clerk = Clerk(service, controller, "[plain(0), shelf.get(), takes()]")
    place = clerk.stays()
    service.ask("shelf.put(1)")
    assert " takes #" in clerk.stays(otherwise_than=place)


def test_the_same_function_called_again_is_another_place(
    service: Service, controller: Controller
) -> None:
    clerk = Clerk(service, controller, "serves(50)")
    seen = [""]
    for _ in range(20):
        seen.append(clerk.stays(otherwise_than=seen[-1]))
        service.ask("shelf.put(1)")
    assert len({*seen}) == 21
    assert len({place.partition("#")[0] for place in seen[1:]}) == 1


def test_to_be_looked_at_does_not_keep_a_calls_variables_alive(
    service: Service, controller: Controller
) -> None:
    clerk = Clerk(service, controller, "[plain(0), takes(Kept()), freed.wait(5)]")
    clerk.stays()
    service.ask("shelf.put(1)")
    assert clerk.done.result(10)[2] is True


@pytest.mark.parametrize("function", ["serves", "traced_before", "traced_after"])
def test_to_be_looked_at_does_not_disturb_a_debugger(
    service: Service, controller: Controller, function: str
) -> None:
    clerk = Clerk(service, controller, f"{function}(1)")
    clerk.stays()
    service.ask("shelf.put(7)")
    assert clerk.done.result(5) == [7]
    assert service.ask("'line' in traced") is (function != "serves")


def test_a_held_thread_stays_in_its_place(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause())
    answer = service.begin("plain(1)")
    hit = arm.wait(5)
    assert hit is not None
    looks = [controller.whereabouts([hit])[hit] for _ in range(50)]
    assert len({*looks[-10:]}) == 1
    hit.release()
    answer.result(5)


def test_of_a_thread_only_its_latest_hit_for_a_request_is_somewhere(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    service.begin("[in_request('a', plain, 0), in_request('b', plain, 0), plain(0), serves(1)]")
    assert arm.wait(5, number=4) is not None
    found = controller.whereabouts(arm.hits)
    assert [hit.number for hit in arm.hits if hit in found] == [1, 2, 4]


def test_a_call_that_was_not_struck_does_not_make_a_hit_forgotten(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("sells"), When.AFTER, Action.record(), raised=False, times=None)
    service.begin("[results(sells, 1, 0), serves(1)]")
    hit = arm.wait(5)
    assert hit is not None
    assert service.ask("entered.wait(5)")
    assert hit in controller.whereabouts([hit])


def test_another_thread_with_the_same_ident_is_not_taken_for_it(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    assert service.ask("same_ident_again(plain, takes)") is True
    hit = arm.wait(5)
    assert hit is not None
    assert controller.whereabouts([hit]) == {}


def test_a_thread_that_has_ended_is_nowhere(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    service.ask(
        "(lambda thread: [thread.start(), thread.join()])(threading.Thread(target=plain, args=[1]))"
    )
    hit = arm.wait(5)
    assert hit is not None
    assert controller.whereabouts([hit]) == {}


def test_the_threads_of_dead_and_frozen_services_are_left_out(
    launch: Launch, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    alive, dead, frozen = (launch(name) for name in ("alive", "dead", "frozen"))
    for number, service in enumerate((alive, dead, frozen), start=1):
        service.begin("serves(1)")
        assert arm.wait(5, number=number) is not None
    dead.stop()
    frozen.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
    found = controller.whereabouts(arm.hits, deadline_s=0.2)
    assert [hit.service for hit in found] == ["alive"]
