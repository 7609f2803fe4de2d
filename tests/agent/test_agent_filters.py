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


@pytest.mark.parametrize(
    ("requests", "struck"), [(("",), ["x", 1, 1]), (("", "r"), ["x", "x", 1]), (None, ["x"] * 3)]
)
def test_an_empty_request_id_means_while_serving_none(
    service: Service,
    controller: Controller,
    requests: tuple[str, ...] | None,
    struck: list[object],
) -> None:
    arm = controller.arm(
        point("plain"), When.BEFORE, Action.answer("x"), requests=requests, times=None
    )
    calls = ["plain(1)", "in_request('r', plain, 1)", "in_request('other', plain, 1)"]
    assert [service.ask(call) for call in calls] == struck
    assert arm.wait(5, number=struck.count("x")) is not None
    assert arm.matched == struck.count("x")


def test_after_a_call_in_which_a_request_began_it_is_served(
    service: Service, controller: Controller
) -> None:
    service.ask("exec('def begins(): request.set(\"req-1\"); return 1', vars(shop))")
    controller.arm(point("begins"), When.AFTER, Action.answer("struck"), requests=("",))
    assert service.ask("shop.begins()") == 1


@pytest.mark.parametrize("reader", ["", "nowhere:current_request"], ids=["none", "not imported"])
@pytest.mark.parametrize(
    ("requests", "struck"), [(("",), ["x", "x"]), (("r",), [1, 1]), (("", "r"), ["x", "x"])]
)
def test_without_a_reader_no_call_serves_a_request(
    launch: Launch, reader: str, requests: tuple[str, ...], struck: list[object]
) -> None:
    with Controller(label="test", request_id_reader=reader) as controller:
        service = launch(by=controller)
        controller.arm(
            point("plain"), When.BEFORE, Action.answer("x"), requests=requests, times=None
        )
        calls = ["plain(1)", "in_request('r', plain, 1)"]
        assert [service.ask(call) for call in calls] == struck
        service.stop()


def test_a_reader_that_fails_is_told_once_and_asked_again(launch: Launch) -> None:
    with Controller(label="test", request_id_reader="shop:moody_request") as controller:
        service = launch(by=controller)
        controller.arm(point("plain"), When.BEFORE, Action.answer("x"), requests=("r",), times=None)
        assert service.ask("[in_request('moody', plain, 1), in_request('moody', plain, 1)]") == [
            1,
            1,
        ]
        assert service.ask("in_request('r', plain, 1)") == "x"
        errors = service.stop()
    assert errors.count("chaos agent: shop:moody_request: ValueError: not now") == 1


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


# ---------------------------------------------------------------------- how the call ended


ENDS = "results(sells, 0, 1, 0, 2, 0, 3)"
UNARMED = ["ValueError", 1, "ValueError", 2, "ValueError", 3]


@pytest.mark.parametrize("times", [9, None], ids=["asked", "unasked"])
@pytest.mark.parametrize(
    ("raised", "answers", "unwanted"),
    [
        (None, ["x"] * 6, 0),
        (True, ["x", 1, "x", 2, "x", 3], 3),
        (False, ["ValueError", "x", "ValueError", "x", "ValueError", "x"], 3),
    ],
)
def test_only_calls_that_ended_as_wanted_are_struck(
    service: Service,
    controller: Controller,
    raised: bool | None,
    answers: list[object],
    unwanted: int,
    times: int | None,
) -> None:
    arm = controller.arm(point("sells"), When.AFTER, Action.answer("x"), raised=raised, times=times)
    assert service.ask(ENDS) == answers
    arm.disarm()
    assert [bool(hit.raised) for hit in arm.hits] == [
        before == "ValueError"
        for before, after in zip(UNARMED, answers, strict=True)
        if after == "x"
    ]
    assert (arm.matched, arm.unwanted) == (answers.count("x"), unwanted)


@pytest.mark.parametrize(
    ("raised", "answers"),
    [
        (None, ["ValueError", "x", "ValueError", 2, "ValueError", 3]),
        (True, ["ValueError", 1, "x", 2, "ValueError", 3]),
        (False, ["ValueError", 1, "ValueError", "x", "ValueError", 3]),
    ],
)
def test_occurrences_count_only_calls_that_ended_as_wanted(
    service: Service, controller: Controller, raised: bool | None, answers: list[object]
) -> None:
    controller.arm(point("sells"), When.AFTER, Action.answer("x"), raised=raised, occurrence=2)
    assert service.ask(ENDS) == answers


def test_occurrences_of_raised_calls_count_over_services(
    launch: Launch, controller: Controller
) -> None:
    first, second = launch("a"), launch("b")
    arm = controller.arm(
        point("sells"), When.AFTER, Action.answer("x"), raised=True, occurrence=2, times=2
    )
    assert first.ask("results(sells, 1, 0, 1)") == [1, "ValueError", 1]
    assert second.ask("results(sells, 1, 0, 1, 0, 0)") == [1, "x", 1, "x", "ValueError"]
    assert [hit.service for hit in arm.hits] == ["b", "b"]
    assert (arm.matched, arm.unwanted) == (3, 4)


def test_calls_of_another_request_are_not_even_unwanted(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("sells"), When.AFTER, Action.record(), raised=True, requests=("r",))
    assert service.ask("[sells(1), in_request('r', sells, 1)]") == [1, 1]
    assert (arm.matched, arm.unwanted) == (0, 1)


@pytest.mark.parametrize(
    ("setup", "call", "end"),
    [
        ("async def task(x): return shop.sells(x)", "results(lambda x: asyncio.run(task(x)), 0, 1)",
         ["ValueError", "x"]),
        ("def task(x): yield shop.sells(x)", "results(lambda x: drain(task(x)), 0, 1)",
         ["ValueError", [[1], "x"]]),
    ],
    ids=["coroutine", "generator"],
)  # fmt: skip
def test_coroutines_and_generators_are_told_apart_by_their_end(
    service: Service, controller: Controller, setup: str, call: str, end: list[object]
) -> None:
    service.ask(f"exec({setup!r}, vars(shop) | {{'shop': shop}}, vars(shop))")
    controller.arm(point("task"), When.AFTER, Action.answer("x"), raised=False)
    assert service.ask(call.replace("task(", "shop.task(")) == end


# ---------------------------------------------------------------------- what a hit tells


def test_the_hits_of_an_arm_are_numbered(service: Service, controller: Controller) -> None:
    arm = controller.arm(
        point("plain"), When.BEFORE, Action.record(), alias="shop.plain", times=None
    )
    service.ask("[plain(i) for i in range(3)]")
    third = arm.wait(5, number=3)
    assert third is not None
    assert (third.number, third.alias) == (3, "shop.plain")
    assert [hit.number for hit in arm.hits] == [1, 2, 3]


@pytest.mark.parametrize("times", [1, None], ids=["asked", "unasked"])
@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize(
    ("path", "call", "told"),
    [
        ("plain", "plain([1, 'a'])", {"value": "[1, 'a']"}),
        ("plain", "plain(value=None)", {"value": "None"}),
        ("fetch", "asyncio.run(fetch(7))", {"value": "7"}),
        ("count", "drain(count(2))", {"limit": "2"}),
        ("Shop.method", "Shop().method(3)", {"value": "3"}),
        ("keywords", "keywords(1)", {"first": "1", "second": "2", "third": "3"}),
        ("keywords", "keywords(1, 4, 5, value=6)", {"first": "1", "second": "4", "third": "3",
                                                    "value": "6"}),
        ("plain", "plain('x' * 20_001)", {"value": "x" * 20_000}),
        ("plain", "plain(unspeakable) and 1", {}),
    ],
)  # fmt: skip
def test_a_hit_tells_the_named_arguments_that_there_are(
    service: Service,
    controller: Controller,
    path: str,
    call: str,
    told: dict[str, str],
    when: When,
    times: int | None,
) -> None:
    names = ["value", "limit", "first", "second", "third", "rest", "nothing"]
    arm = controller.arm(point(path), when, Action.record(tell=names), times=times)
    service.ask(call)
    hit = arm.wait(5)
    assert hit is not None
    assert hit.told == told


def test_arguments_that_nobody_named_are_not_told(service: Service, controller: Controller) -> None:
    arms = controller.arm_all(
        ArmRequest(point("keywords"), When.BEFORE, action)
        for action in (Action.record(), Action.record(tell=["second"]))
    )
    service.ask("keywords(1)")
    assert [arm.hits[0].told for arm in arms] == [{}, {"second": "2"}]


def test_to_tell_a_value_strikes_nobody(service: Service, controller: Controller) -> None:
    """Its ``__str__`` may call what is armed."""
    service.ask("exec('class Talks:\\n def __str__(self): return str(plain(5))', vars(shop))")
    telling = controller.arm(point("sells"), When.BEFORE, Action.record(tell=["amount"]))
    inner = controller.arm(point("plain"), When.BEFORE, Action.record(), times=None)
    service.ask("bool(sells(shop.Talks()))")
    assert [hit.told for hit in telling.hits] == [{"amount": "5"}]
    inner.disarm()
    assert inner.hits == ()


def test_a_hit_that_does_not_come_is_none_at_the_deadline(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.record())
    assert arm.wait(0.05) is None


@pytest.mark.parametrize("reader", ["shop:requests.current.id", "shop:request.get"])
def test_the_id_of_a_request_is_read_by_a_path_of_attributes(launch: Launch, reader: str) -> None:
    with Controller(label="paths", request_id_reader=reader) as controller:
        service = launch(by=controller)
        controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), requests=("r1",))
        assert service.ask("[in_request(r, plain, 7) for r in ('r0', 'r1')]") == [7, "struck"]


def test_the_id_of_a_request_is_read_as_soon_as_somebody_has_imported_its_reader(
    launch: Launch,
) -> None:
    with Controller(label="late", request_id_reader="late:late_request") as controller:
        service = launch(by=controller)
        controller.arm(
            point("plain"), When.BEFORE, Action.answer("struck"), requests=("r1",), times=None
        )
        assert service.ask("plain(7)") == 7
        service.ask("setattr(__import__('late'), 'late_request', lambda: 'r1')")
        assert service.ask("plain(7)") == "struck"
