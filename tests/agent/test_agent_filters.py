"""Which of the calls an arm strikes."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.failpoints.controller import ArmRequest, Controller
from chaos.point import When

from .conftest import Launch, Service, point


def test_only_the_named_request_is_struck_among_threads(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(
        point("plain"), When.BEFORE, Action.pause(), requests=("req-2",), times=None
    )
    answers = {
        name: service.begin(f"in_request('{name}', plain, 1)") for name in ("req-1", "req-2")
    }
    hit = arm.wait(5)
    assert hit is not None
    assert hit.request == "req-2"
    assert answers["req-1"].result(5) == 1
    hit.release()
    assert answers["req-2"].result(5) == 1


def test_only_the_named_request_is_struck_among_tasks(
    service: Service, controller: Controller
) -> None:
    controller.arm(
        point("fetch"), When.BEFORE, Action.answer("struck"), requests=("req-2",), times=None
    )
    assert service.ask("tasks_of(['req-1', 'req-2', 'req-3'])") == ["req-1", "struck", "req-3"]


def test_a_call_without_a_request_is_no_named_one(service: Service, controller: Controller) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), requests=("req-1",))
    assert service.ask("plain(1)") == 1


def test_two_requests_at_one_point_are_held_and_released_one_by_one(
    service: Service, controller: Controller
) -> None:
    """What a race is built from."""
    names = ("req-1", "req-2")
    arms = controller.arm_all(
        ArmRequest(point("plain"), When.BEFORE, Action.pause(), requests=(name,)) for name in names
    )
    answers = [service.begin(f"in_request('{name}', plain, '{name}')") for name in names]
    first, second = (arm.wait(5) for arm in arms)
    assert first is not None
    assert second is not None
    second.release()
    assert answers[1].result(5) == "req-2"
    assert not answers[0].done()
    first.release()
    assert answers[0].result(5) == "req-1"


def test_every_hit_tells_its_request_though_none_is_named(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record())
    service.ask("in_request('req-9', plain, 1)")
    hit = arm.wait(5)
    assert hit is not None
    assert hit.request == "req-9"


def test_an_after_point_knows_a_request_that_began_inside_the_call(
    service: Service, controller: Controller
) -> None:
    service.ask("exec('def begins(): request.set(\"req-1\"); return 1', vars(shop))")
    controller.arm(point("begins"), When.AFTER, Action.answer("struck"), requests=("req-1",))
    assert service.ask("shop.begins()") == "struck"


def test_occurrence_is_the_first_hit_that_acts_and_times_how_many(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("x"), occurrence=3, times=2)
    assert service.ask("[plain(i) for i in range(6)]") == [0, 1, "x", "x", 4, 5]


def test_times_none_means_every_hit_from_there(service: Service, controller: Controller) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("x"), occurrence=2, times=None)
    assert service.ask("[plain(i) for i in range(4)]") == [0, "x", "x", "x"]


def test_occurrences_count_the_hits_of_the_named_request_only(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("x"), requests=("r",), occurrence=2)
    assert service.ask("[plain(0), plain(1)]") == [0, 1]
    assert service.ask("in_request('r', lambda: [plain(0), plain(1)])") == [0, "x"]


@pytest.mark.parametrize("times", [1, 3])
def test_of_many_threads_exactly_so_many_are_struck(
    service: Service, controller: Controller, times: int
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.answer("x"), times=times)
    answers = [service.begin("plain(0)") for _ in range(8)]
    assert sum(answer.result(5) == "x" for answer in answers) == times
    assert len(arm.hits) == times


def test_occurrences_count_over_all_matching_services(
    launch: Launch, controller: Controller
) -> None:
    first, second = launch("compute-1"), launch("compute-2")
    arm = controller.arm(
        point("plain"), When.BEFORE, Action.answer("x"), occurrence=2, services="compute-*"
    )
    assert first.ask("plain(0)") == 0
    assert second.ask("plain(0)") == "x"
    assert first.ask("plain(0)") == 0
    assert [hit.service for hit in arm.hits] == ["compute-2"]


def test_the_hits_of_an_arm_are_numbered(service: Service, controller: Controller) -> None:
    arm = controller.arm(
        point("plain"), When.BEFORE, Action.record(), alias="shop.plain", times=None
    )
    service.ask("[plain(i) for i in range(3)]")
    third = arm.wait(5, number=3)
    assert third is not None
    assert (third.number, third.alias) == (3, "shop.plain")
    assert [hit.number for hit in arm.hits] == [1, 2, 3]


def test_a_hit_that_does_not_come_is_none_at_the_deadline(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record())
    assert arm.wait(0.05) is None
