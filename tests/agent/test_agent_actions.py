"""Every action, on every kind of function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chaos.action import Action
from chaos.errors import PointError
from chaos.failpoints.controller import Arm, Controller
from chaos.point import When

from .conftest import CallFailed, Launch, Service, ServiceDied, point


@dataclass(frozen=True)
class Kind:
    """A kind of function: its path, how it is called with 7, and how its answer reads."""

    path: str
    call: str

    @property
    def short(self) -> str:
        return self.path.rpartition(".")[2]

    def answer(self, value: Any, runs: int = 1) -> Any:
        """What the call gives when the function ran ``runs`` times and ``value`` came back."""
        return [[0, 1] * runs, value] if self.path == "count" else value


KINDS = [
    Kind("plain", "plain(7)"),
    Kind("closure", "closure(7)"),
    Kind("Shop.method", "Shop().method(7)"),
    Kind("Shop.static", "Shop.static(7)"),
    Kind("Shop.klass", "Shop.klass(7)"),
    Kind("Shop.stock", "Shop().stock"),
    Kind("fetch", "asyncio.run(fetch(7))"),
    Kind("count", "drain(count(2))"),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Controller, Service]]:
    with Controller(label="test") as controller:
        service = Service(controller.environment("shop"))
        controller.wait_connected(["shop"], 10)
        assert service.ask("1") == 1
        yield controller, service
        service.stop()


@dataclass
class Struck:
    """A shared service with one armed function of one kind."""

    controller: Controller
    service: Service
    kind: Kind

    def arm(self, when: When, action: Action, times: int | None = None) -> Arm:
        return self.controller.arm(point(self.kind.path), when, action, times=times)

    def call(self) -> Any:
        return self.service.ask(self.kind.call)

    @property
    def calls(self) -> int:
        made = self.service.ask("list(calls)")
        assert set(made) <= {self.kind.short}
        return len(made)


@pytest.fixture
def struck(shared: tuple[Controller, Service], kind: Kind) -> Iterator[Struck]:
    controller, service = shared
    service.ask("calls.clear()")
    yield Struck(controller, service, kind)
    controller.disarm_all()


@every_kind
@pytest.mark.parametrize("when", When)
def test_record_reports_the_call_and_leaves_it_alone(struck: Struck, when: When) -> None:
    arm = struck.arm(when, Action.record())
    assert struck.call() == struck.kind.answer(7)
    assert struck.calls == 1
    hit = arm.wait(5)
    assert hit is not None
    assert (hit.function, hit.when, hit.action) == (f"shop:{struck.kind.path}", when, "record")
    assert (hit.service, hit.pid, hit.number) == ("shop", struck.service.pid, 1)


@every_kind
def test_return_before_takes_the_place_of_the_call(struck: Struck) -> None:
    struck.arm(When.BEFORE, Action.answer({"a": [1]}))
    assert struck.call() == struck.kind.answer({"a": [1]}, runs=0)
    assert struck.calls == 0


@every_kind
def test_return_after_takes_the_place_of_the_result(struck: Struck) -> None:
    struck.arm(When.AFTER, Action.answer("other"))
    assert struck.call() == struck.kind.answer("other")
    assert struck.calls == 1


@every_kind
def test_drop_before_loses_the_call(struck: Struck) -> None:
    struck.arm(When.BEFORE, Action.drop())
    assert struck.call() == struck.kind.answer(None, runs=0)
    assert struck.calls == 0


@every_kind
def test_drop_after_loses_the_answer(struck: Struck) -> None:
    struck.arm(When.AFTER, Action.drop())
    assert struck.call() == struck.kind.answer(None)
    assert struck.calls == 1


@every_kind
@pytest.mark.parametrize("when", When)
def test_duplicate_calls_twice(struck: Struck, when: When) -> None:
    struck.arm(when, Action.duplicate())
    assert struck.call() == struck.kind.answer(7, runs=2)
    assert struck.calls == 2


@every_kind
@pytest.mark.parametrize(("when", "calls"), [(When.BEFORE, 0), (When.AFTER, 1)])
def test_raise_raises_on_its_side_of_the_call(struck: Struck, when: When, calls: int) -> None:
    struck.arm(when, Action.error("ConnectionError", "cut"))
    with pytest.raises(CallFailed, match=r"^ConnectionError: cut$"):
        struck.call()
    assert struck.calls == calls


@every_kind
@pytest.mark.parametrize("when", When)
def test_delay_holds_the_call_for_as_long_as_it_says(struck: Struck, when: When) -> None:
    struck.arm(when, Action.delay(0.05))
    took_s, answer = struck.service.ask(
        "(lambda t: (lambda began, answer: [t.monotonic() - began, answer])"
        f"(t.monotonic(), {struck.kind.call}))(__import__('time'))"
    )
    assert answer == struck.kind.answer(7)
    assert took_s >= 0.05


@every_kind
@pytest.mark.parametrize(("when", "calls"), [(When.BEFORE, 0), (When.AFTER, 1)])
def test_pause_holds_the_call_until_it_is_released(struck: Struck, when: When, calls: int) -> None:
    arm = struck.arm(when, Action.pause())
    answer = struck.service.begin(struck.kind.call)
    hit = arm.wait(5)
    assert hit is not None
    assert not hit.released
    assert struck.calls == calls
    assert not answer.done()
    hit.release()
    assert answer.result(5) == struck.kind.answer(7)
    assert hit.released


@every_kind
@pytest.mark.parametrize("when", When)
def test_crash_kills_the_process_after_its_hit_was_told(
    launch: Launch, controller: Controller, kind: Kind, when: When
) -> None:
    service = launch()
    arm = controller.arm(point(kind.path), when, Action.crash())
    with pytest.raises(ServiceDied):
        service.ask(kind.call)
    assert service.process.wait(5) == -9
    hit = arm.wait(5)
    assert hit is not None
    assert hit.pid == service.pid


def test_raise_takes_an_exception_of_a_module_that_nobody_imported_yet(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.error("http.cookies:CookieError", "stale"))
    with pytest.raises(CallFailed, match=r"^CookieError: stale$"):
        service.ask("plain(1)")


@pytest.mark.parametrize(
    ("exception", "arguments", "raised"),
    [
        (
            "subprocess:CalledProcessError",
            [7, "ls"],
            "Command 'ls' returned non-zero exit status 7",
        ),
        (
            "subprocess:TimeoutExpired",
            {"cmd": "ls", "timeout": 3},
            "Command 'ls' timed out after 3",
        ),
        ("OSError", [28, "No space left on device"], r"\[Errno 28\] No space left on device"),
        (
            "ExceptionGroup",
            ["many", [{"exception": "ValueError", "message": "bad"}, {"exception": "KeyError"}]],
            r"many \(2 sub-exceptions\)",
        ),
        (
            "sqlalchemy.exc:OperationalError",
            ["SELECT 1", None, {"exception": "sqlite3:OperationalError", "message": "locked"}],
            r"\(sqlite3.OperationalError\) locked",
        ),
    ],
)
def test_raise_calls_the_constructor_with_arguments(
    service: Service, controller: Controller, exception: str, arguments: Any, raised: str
) -> None:
    action = Action.error(exception, arguments=arguments)
    controller.arm(point("plain"), When.BEFORE, action)
    with pytest.raises(CallFailed, match=f"^{exception.rpartition(':')[2]}: {raised}"):
        service.ask("plain(1)")


@pytest.mark.parametrize(
    ("exception", "arguments", "problem"),
    [
        ("UnicodeDecodeError", None, "TypeError: .*; its `arguments` may help"),
        ("UnicodeDecodeError", ["utf-8"], "TypeError: "),
        ("ExceptionGroup", ["none", []], "ValueError: "),
        ("shop:Picky", None, "KeyError: 'no such code'"),
        ("shop:Mute", None, "TypeError: .*; its `arguments` may help"),
        ("shop:Mute", [1, 2], "TypeError: __str__ returned non-string"),
    ],
)
def test_an_exception_that_cannot_be_made_is_an_error_when_it_is_armed(
    service: Service, controller: Controller, exception: str, arguments: Any, problem: str
) -> None:
    with pytest.raises(PointError, match=f"`{exception}` cannot be made: {problem}"):
        controller.arm(point("plain"), When.BEFORE, Action.error(exception, "x", arguments))
    assert controller.armed() == {"shop": ()}


@pytest.mark.parametrize("times", [1, None], ids=["asked", "unasked"])
@pytest.mark.parametrize(
    ("exception", "problem"),
    [
        ("broken:Lost", "`broken:Lost` cannot be imported: ZeroDivisionError: division by zero"),
        ("late:Lost", "`late:Lost` is no exception"),
        ("late:Latte", "`late:Latte` is no exception; did you mean `late:Late`?"),
    ],
)
def test_an_exception_that_cannot_be_raised_leaves_the_call_alone_and_is_no_strike(
    service: Service,
    controller: Controller,
    exception: str,
    problem: str,
    times: int | None,
) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.error(exception, "x"), times=times)
    assert service.ask("plain(7)") == 7
    assert controller.armed()  # a round trip after all that was said
    assert (arm.matched, arm.hits) == (1, ())
    assert arm.state["shop"].startswith(f"error: {problem}")


def test_an_after_point_reports_how_the_call_failed(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("fails"), When.AFTER, Action.record())
    with pytest.raises(CallFailed, match=r"^ValueError: out of stock$"):
        service.ask("fails()")
    hit = arm.wait(5)
    assert hit is not None
    assert hit.raised == "ValueError"


def test_an_after_point_can_turn_a_failure_into_an_answer(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("fails"), When.AFTER, Action.answer("fine"))
    assert service.ask("fails()") == "fine"


def test_an_after_point_is_not_reached_when_the_call_was_dropped(
    service: Service, controller: Controller
) -> None:
    after = controller.arm(point("plain"), When.AFTER, Action.record())
    controller.arm(point("plain"), When.BEFORE, Action.drop())
    assert service.ask("[plain(1), plain(2)]") == [None, 2]
    hit = after.wait(5)
    assert hit is not None
    assert len(after.hits) == 1


def test_a_returned_value_is_the_callers_own(service: Service, controller: Controller) -> None:
    """A caller that changes what it got does not change what the next one gets."""
    controller.arm(point("plain"), When.BEFORE, Action.answer([1]), times=2)
    service.ask("plain(0).append(2)")
    assert service.ask("plain(0)") == [1]


def test_a_held_coroutine_does_not_hold_its_event_loop(
    service: Service, controller: Controller
) -> None:
    arm = controller.arm(point("fetch"), When.BEFORE, Action.pause())
    answer = service.begin("in_ticking_loop(fetch, 7)")
    hit = arm.wait(5)
    assert hit is not None
    assert service.ask("[tick.clear(), tick.wait(5)]")[1]
    hit.release()
    assert answer.result(5) == 7


def test_a_pause_ends_by_itself_at_its_limit(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("plain"), When.BEFORE, Action.pause(limit_s=0.05))
    assert service.ask("plain(7)") == 7
    assert controller.armed() == {"shop": ()}  # a round trip after the agent said that it goes on
    hit = arm.wait(5)
    assert hit is not None
    assert hit.released


def test_a_held_coroutine_can_be_cancelled(service: Service, controller: Controller) -> None:
    arm = controller.arm(point("fetch"), When.BEFORE, Action.pause())
    answer = service.begin("cancelled_while_held()")
    hit = arm.wait(5)
    assert hit is not None
    service.ask("cancel_now.set()")
    assert answer.result(5) is True
    assert controller.armed() == {"shop": ()}  # a round trip after the agent said that it goes on
    assert hit.released
