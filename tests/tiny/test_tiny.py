"""The tiny target itself: with its bug switches off it is right, with each on it is wrong once."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaos.action import Action
from chaos.errors import NotSettled
from chaos.failpoints.controller import Arm, Controller
from chaos.history import History, Kind
from chaos.hit import Hit
from chaos.invariant import Evidence, Observation
from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Scope,
)
from chaos.point import Access, When
from chaos.target import Instrumentation, ServiceState
from chaos.words import Word
from tests.tiny.tiny import Tiny, TinyWorld

LABEL = f"tiny-{uuid.uuid4().hex[:8]}"
LIMIT_S = 10.0
A_MOMENT_S = 0.05
"""Long enough for what does not wait: it takes a millisecond."""

Do = Callable[..., Any]
Begin = Callable[..., "Future[Any]"]


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller(label=LABEL, request_id_reader=Tiny.request_id_reader) as controller:
        yield controller


@pytest.fixture
def start(tmp_path: Path, controller: Controller, begin: Begin) -> Iterator[Callable[..., Tiny]]:
    tiny = Tiny()

    def start(*bugs: str) -> Tiny:
        tiny.start(
            Instrumentation(LABEL, tmp_path, controller.environment, lambda *_: None),
            frozenset(bugs),
        )
        do(tiny, "make", "a", "shelf", 2)
        do(tiny, "make", "b", "hall")
        return tiny

    yield start
    tiny.stop()


@pytest.fixture
def tiny(start: Callable[..., Tiny]) -> Tiny:
    """With parcel a (size 2) on the shelf and b (size 1) in the hall."""
    return start()


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Do something in the background."""
    with ThreadPoolExecutor() as pool:
        yield lambda *asked, **more: pool.submit(do, *asked, **more)


def scope_of(tiny: Tiny, request: str = "request-1", deadline_s: float = LIMIT_S) -> Scope:
    return Scope(tiny.client(), request_id=request, deadline_s=deadline_s)


def do(tiny: Tiny, what: str, *asked: Any, request: str = "request-1", **scope: Any) -> Any:
    function = tiny.operations[f"parcel.{what}"].function
    return function(scope_of(tiny, request, **scope), *asked)


def hold(
    tiny: Tiny, controller: Controller, alias: str, *requests: str, after: bool = False
) -> Arm:
    """Hold who comes there: once, or once each of these requests."""
    when = When.AFTER if after else When.BEFORE
    return controller.arm(
        tiny.points[alias],
        when,
        Action.pause(),
        requests=requests or None,
        times=len(requests) or 1,
    )


def hit(arm: Arm, number: int = 1) -> Hit:
    found = arm.wait(LIMIT_S, number=number)
    assert found is not None, f"nobody came to {arm}"
    return found


def violations(tiny: Tiny, name: str, history: History | None = None) -> list[str]:
    now = Observation("now", 0, tiny.observe())
    return list(tiny.invariants[name].check(Evidence((now,), history or History())))


def places(tiny: Tiny) -> dict[str, str | None]:
    return {parcel.key: parcel.place for parcel in tiny.observe().parcels}


def usage(tiny: Tiny) -> dict[str, int]:
    return {row.key: row.used for row in tiny.observe().usage}


# ---------------------------------------------------------------------- what a client can do


def test_a_moved_parcel_is_counted_where_it_is(tiny: Tiny) -> None:
    do(tiny, "move", "a", "hall")

    assert places(tiny) == {"a": "hall", "b": "hall"}
    assert usage(tiny) == {"hall": 3}


def test_a_dropped_parcel_is_gone_and_cannot_be_dropped_again(tiny: Tiny) -> None:
    do(tiny, "drop", "a")

    do(tiny, "expect", "a", "", False)
    with pytest.raises(OperationFailed) as no:
        do(tiny, "drop", "a")
    assert no.value.status == 404
    assert usage(tiny) == {"hall": 1}


@pytest.mark.parametrize("asked", [("a", "van"), ("a", "", False), ("none", "shelf")])
def test_an_expectation_that_is_wrong_fails(tiny: Tiny, asked: tuple[Any, ...]) -> None:
    with pytest.raises(ExpectationFailed):
        do(tiny, "expect", *asked)


def test_waiting_in_vain_ends_at_the_deadline(tiny: Tiny) -> None:
    with pytest.raises(ExpectationFailed, match="a is still at shelf, not at van"):
        do(tiny, "wait", "a", "van", deadline_s=0.5)


def test_a_sent_parcel_arrives(tiny: Tiny) -> None:
    do(tiny, "send", "a", "hall")

    do(tiny, "wait", "a", "hall")
    tiny.settle(LIMIT_S)
    assert usage(tiny) == {"hall": 3}
    assert not violations(tiny, "parcels-somewhere")


def test_swapped_parcels_have_each_others_places(tiny: Tiny) -> None:
    do(tiny, "swap", "b", "a")

    assert places(tiny) == {"a": "hall", "b": "shelf"}
    assert usage(tiny) == {"hall": 2, "shelf": 1}


def test_lending_posting_and_claiming_are_written_down(tiny: Tiny) -> None:
    do(tiny, "lend", "a", "carol")
    do(tiny, "post", "a", "hello")
    do(tiny, "claim", "a", "dave")

    parcel = tiny.observe().parcels[0]
    assert (parcel.borrower, parcel.text, parcel.owner) == ("carol", "hello", "dave")


@pytest.mark.parametrize("what", ["move", "send", "lend", "post", "claim", "swap"])
def test_nothing_can_be_done_with_a_parcel_that_is_not_there(tiny: Tiny, what: str) -> None:
    with pytest.raises(OperationFailed) as no:
        do(tiny, what, "none", "a")

    assert no.value.status == 404


def test_every_parcel_that_an_operation_names_is_a_word(tiny: Tiny) -> None:
    made = {
        operation.name: {
            name: word.makes
            for name, kind in operation.types.items()
            for word in getattr(kind, "__metadata__", ())
            if isinstance(word, Word)
        }
        for operation in tiny.operations.values()
    }

    assert made.pop("parcel.make") == {"name": True}
    assert made.pop("carrier.tick") == {}
    assert made.pop("parcel.swap") == {"first": False, "second": False}
    assert all(words == {"parcel": False} for words in made.values())


# ---------------------------------------------------------------------- points


def test_every_point_is_one(tiny: Tiny, controller: Controller) -> None:
    points = [*tiny.points.values(), *(access.point for access in tiny.accesses)]

    arms = [controller.arm(point, When.AFTER, Action.record()) for point in points]

    assert {state for arm in arms for state in arm.state.values()} == {"armed"}
    assert all(arm.state for arm in arms)


def test_the_timer_comes_round_though_nothing_is_under_way(
    tiny: Tiny, controller: Controller
) -> None:
    arm = controller.arm(tiny.points["carrier.tick"], When.BEFORE, Action.record(), times=None)

    hits = [hit(arm, number) for number in (1, 2, 3)]
    apart = [(b.at_ns - a.at_ns) / 1e9 for a, b in pairwise(hits)]

    every = tiny.points["carrier.tick"].every_s
    assert min(apart) > every / 2
    assert {found.request for found in hits} == {None}


# ---------------------------------------------------------------------- a transient


@pytest.mark.parametrize("bug", ["", "torn-move"])
def test_only_a_torn_move_shows_a_usage_that_is_wrong_for_a_moment(
    start: Callable[..., Tiny], controller: Controller, begin: Begin, bug: str
) -> None:
    tiny = start(*filter(None, [bug]))
    arm = hold(tiny, controller, "usage.give")
    moving = begin(tiny, "move", "a", "van")

    held = hit(arm)
    meanwhile = violations(tiny, "usage-matches")
    held.release()
    moving.result(LIMIT_S)

    assert meanwhile == (["van is said to hold 0 and holds 2"] if bug else [])
    assert not violations(tiny, "usage-matches")
    assert usage(tiny) == {"hall": 1, "van": 2}


# ---------------------------------------------------------------------- locks


@pytest.mark.parametrize(
    ("asked", "inside"),
    [
        (("lend", "a", "carol"), "lend.inside"),
        (("post", "a", "hello"), "post.inside"),
        (("swap", "a", "b"), "swap.between"),
    ],
)
def test_the_second_waits_for_the_lock_of_the_first(
    tiny: Tiny, controller: Controller, begin: Begin, asked: tuple[str, ...], inside: str
) -> None:
    def record(alias: str) -> Arm:
        point = tiny.points[alias]
        return controller.arm(point, When.BEFORE, Action.record(), requests=("second",))

    arm = hold(tiny, controller, inside, "first")
    first = begin(tiny, *asked, request="first")
    held = hit(arm)
    came, entered = record(f"desk.{asked[0]}"), record(inside)
    what, *others = asked
    second = begin(tiny, what, *(reversed(others) if what == "swap" else others), request="second")
    hit(came)

    assert entered.wait(A_MOMENT_S) is None
    held.release()
    hit(entered)
    for ended in (first, second):
        ended.result(LIMIT_S)


@pytest.mark.parametrize(
    ("asked", "inside"), [(("lend", "a", "carol"), "lend"), (("swap", "a", "b"), "swap")]
)
def test_an_error_inside_a_lock_is_answered_and_the_lock_is_free_again(
    tiny: Tiny, controller: Controller, asked: tuple[str, ...], inside: str
) -> None:
    point = tiny.points[f"{inside}.inside"]
    controller.arm(point, When.BEFORE, Action.error("OSError", "no"))

    with pytest.raises(OperationFailed) as no:
        do(tiny, *asked)
    assert no.value.status == 500
    do(tiny, *asked)


def test_parcels_have_locks_of_their_own(tiny: Tiny, controller: Controller, begin: Begin) -> None:
    arm = hold(tiny, controller, "lend.inside", "first")
    lent = begin(tiny, "lend", "a", "carol", request="first")
    held = hit(arm)

    do(tiny, "lend", "b", "dave", request="second")

    assert not lent.done()
    held.release()
    lent.result(LIMIT_S)


def deadlock(tiny: Tiny, controller: Controller, begin: Begin) -> list[Future[Any]]:
    """Each of two swaps has the lock that the other needs."""
    arm = hold(tiny, controller, "swap.between", "one", "other")
    swaps = [
        begin(tiny, "swap", "a", "b", request="one", deadline_s=1.0),
        begin(tiny, "swap", "b", "a", request="other", deadline_s=1.0),
    ]
    for held in (hit(arm, 1), hit(arm, 2)):
        held.release()
    return swaps


def test_swaps_in_both_directions_deadlock_with_unordered_locks(
    start: Callable[..., Tiny], controller: Controller, begin: Begin
) -> None:
    tiny = start("unordered-locks")

    swaps = deadlock(tiny, controller, begin)

    for swap in swaps:
        with pytest.raises(OperationIndeterminate):
            swap.result(LIMIT_S)
    with pytest.raises(NotSettled, match="/swap for one"):
        tiny.settle(0.5)
    assert places(tiny) == {"a": "shelf", "b": "hall"}


def test_a_reset_ends_a_deadlock(
    start: Callable[..., Tiny], controller: Controller, begin: Begin
) -> None:
    tiny = start("unordered-locks")
    kept = tiny.keep()
    swaps = deadlock(tiny, controller, begin)

    tiny.reset(frozenset({"unordered-locks"}), kept)

    assert all(isinstance(swap.exception(LIMIT_S), OperationIndeterminate) for swap in swaps)
    do(tiny, "swap", "a", "b")
    assert places(tiny) == {"a": "hall", "b": "shelf"}


# ---------------------------------------------------------------------- check, then act


@pytest.mark.parametrize("bug", ["", "blind-claim"])
def test_only_blind_claims_both_succeed(
    start: Callable[..., Tiny], controller: Controller, begin: Begin, bug: str
) -> None:
    tiny = start(*filter(None, [bug]))
    arm = hold(tiny, controller, "claim.write", "one", "other")
    claims = {by: begin(tiny, "claim", "a", by, request=by) for by in ("one", "other")}
    for held in (hit(arm, 1), hit(arm, 2)):
        held.release()

    history, ok = History(), []
    for by, claim in claims.items():
        asked = {"parcel": "a", "by": by}
        history.add(Kind.INVOKE, "client", "parcel.claim", operation=by, arguments=asked)
        with suppress(OperationFailed):
            claim.result(LIMIT_S)
            history.add(Kind.OK, "client", "parcel.claim", operation=by, answer=None)
            ok.append(by)

    assert len(ok) == (2 if bug else 1)
    assert violations(tiny, "one-owner", history) == (
        ["a was given to one and to other"] if bug else []
    )
    assert tiny.observe().parcels[0].owner in ok


def test_a_later_claim_is_refused_even_blindly(start: Callable[..., Tiny]) -> None:
    tiny = start("blind-claim")
    do(tiny, "claim", "a", "one")

    with pytest.raises(OperationFailed) as no:
        do(tiny, "claim", "a", "other")
    assert no.value.status == 409


# ---------------------------------------------------------------------- a cast


def test_a_send_goes_on_under_its_request_when_it_was_answered(
    tiny: Tiny, controller: Controller
) -> None:
    arm = hold(tiny, controller, "carry.put")
    do(tiny, "send", "a", "van", request="sender")

    held = hit(arm)
    assert (held.service, held.request) == ("carrier", "sender")
    assert tiny.under_way(["sender"]) == ("a is being carried to van, for sender",)
    assert tiny.under_way(["another"]) == ()
    assert places(tiny)["a"] is None
    assert violations(tiny, "parcels-somewhere") == [
        "a is still to be carried to van",
        "a is nowhere",
    ]
    assert not violations(tiny, "usage-matches")
    with pytest.raises(NotSettled, match="a is being carried to van"):
        tiny.settle(0.5)

    held.release()
    tiny.settle(LIMIT_S)
    assert tiny.under_way(["sender"]) == ()
    assert places(tiny)["a"] == "van"


def test_a_send_that_waits_for_a_carrier_is_not_under_way(tiny: Tiny) -> None:
    carrier = tiny.services["carrier"]
    carrier.freeze()
    do(tiny, "send", "a", "van", request="sender")
    assert tiny.under_way(["sender"]) == ()
    carrier.kill()
    assert tiny.under_way(["sender"]) == ()

    carrier.start()

    assert places(tiny)["a"] == "van"


def test_two_sends_of_one_request_are_two(tiny: Tiny, controller: Controller) -> None:
    arm = controller.arm(tiny.points["carry.put"], When.BEFORE, Action.pause(), times=2)
    do(tiny, "send", "a", "van")
    do(tiny, "send", "b", "van")

    held = [hit(arm, 1), hit(arm, 2)]
    assert len(tiny.under_way(["request-1"])) == 2
    for one in held:
        one.release()
    tiny.settle(LIMIT_S)
    assert usage(tiny) == {"van": 3}


def test_the_timer_leaves_alone_what_is_being_carried(tiny: Tiny, controller: Controller) -> None:
    arm = controller.arm(tiny.points["carry.take"], When.BEFORE, Action.pause(), times=2)
    do(tiny, "send", "a", "van")
    held = hit(arm)
    ticks = controller.arm(tiny.points["carrier.tick"], When.AFTER, Action.record(), times=2)

    hit(ticks, 2)

    assert arm.wait(A_MOMENT_S, number=2) is None
    held.release()


def test_a_parcel_on_its_way_cannot_be_swapped(tiny: Tiny, controller: Controller) -> None:
    arm = hold(tiny, controller, "carry.put")
    do(tiny, "send", "a", "van")
    held = hit(arm)

    with pytest.raises(OperationFailed) as no:
        do(tiny, "swap", "a", "b")
    assert no.value.status == 409
    held.release()


def test_a_parcel_dropped_on_its_way_stays_gone(tiny: Tiny, controller: Controller) -> None:
    arm = hold(tiny, controller, "carry.put")
    do(tiny, "send", "a", "van")
    held = hit(arm)
    do(tiny, "drop", "a")
    held.release()

    tiny.settle(LIMIT_S)
    assert places(tiny) == {"b": "hall"}
    assert usage(tiny) == {"hall": 1}


@pytest.mark.parametrize(
    ("function", "action"),
    [
        ("tests.tiny.desk:Desk.wake_carrier", Action.drop()),
        ("tests.tiny.carrier:Carrier.put", Action.error("OSError", "no")),
    ],
)
def test_the_timer_carries_what_was_not_told_or_went_wrong(
    tiny: Tiny, controller: Controller, function: str, action: Action
) -> None:
    point = type(tiny.points["carry.put"])(function)
    arm = controller.arm(point, When.BEFORE, action)

    do(tiny, "send", "a", "van")

    hit(arm)
    tiny.settle(LIMIT_S)
    assert places(tiny)["a"] == "van"


# ---------------------------------------------------------------------- recovery


@pytest.mark.parametrize(
    ("bug", "crashes", "place"),
    [
        ("", ["carry.put"], "van"),
        ("", ["carry.take", "recover.take"], "van"),
        ("", ["carry.put", "carrier.recover", "recover.take", "recover.finish"], "van"),
        ("lost-send", ["carry.take"], "van"),
        ("lost-send", ["carry.put"], None),
        ("once-only-recovery", ["carry.put"], "van"),
        ("once-only-recovery", ["carry.put", "recover.finish"], None),
    ],
)
def test_a_carrier_that_comes_back_finishes_what_it_had_begun(
    start: Callable[..., Tiny],
    controller: Controller,
    bug: str,
    crashes: list[str],
    place: str | None,
) -> None:
    tiny = start(*filter(None, [bug]))
    carrier = tiny.services["carrier"]
    for number, alias in enumerate(crashes):
        arm = controller.arm(tiny.points[alias], When.BEFORE, Action.crash())
        if number == 0:
            do(tiny, "send", "a", "van")
        else:
            with pytest.raises(Exception, match="carrier"):
                carrier.start()
        hit(arm)
        assert carrier.wait_dead(LIMIT_S)

    carrier.start()
    tiny.settle(LIMIT_S)

    assert places(tiny)["a"] == place
    assert violations(tiny, "parcels-somewhere") == ([] if place else ["a is nowhere"])


@pytest.mark.parametrize("alias", ["carry.take", "carry.put"])
def test_a_send_that_was_done_is_not_done_again(
    tiny: Tiny, controller: Controller, alias: str
) -> None:
    arm = controller.arm(tiny.points[alias], When.AFTER, Action.crash())
    do(tiny, "send", "a", "van")
    hit(arm)
    assert tiny.services["carrier"].wait_dead(LIMIT_S)
    do(tiny, "move", "a", "attic")

    tiny.services["carrier"].start()

    assert places(tiny)["a"] == ("van" if alias == "carry.take" else "attic")
    assert not violations(tiny, "usage-matches")


# ---------------------------------------------------------------------- reset, clean-up


def test_a_reset_brings_back_the_empty_world_and_restarts_nobody(tiny: Tiny) -> None:
    pids = tiny.pids
    for _ in range(20):
        do(tiny, "make", "c", "van")
        tiny.reset(frozenset())
        assert tiny.observe() == TinyWorld()

    assert tiny.pids == pids


def test_a_reset_brings_back_the_world_that_was_kept(tiny: Tiny) -> None:
    do(tiny, "claim", "a", "carol")
    before, kept, pids = tiny.observe(), tiny.keep(), tiny.pids
    do(tiny, "swap", "a", "b")
    do(tiny, "drop", "a")

    tiny.reset(frozenset(), kept)
    assert tiny.observe() == before
    tiny.reset(frozenset())
    assert tiny.observe() == TinyWorld()
    tiny.reset(frozenset(), kept)
    assert tiny.observe() == before
    do(tiny, "swap", "a", "b")
    assert tiny.pids == pids


def test_a_reset_switches_bugs(start: Callable[..., Tiny], controller: Controller) -> None:
    tiny = start()
    tiny.reset(frozenset({"lost-send"}))

    do(tiny, "make", "a", "shelf")
    controller.arm(tiny.points["carry.put"], When.BEFORE, Action.crash())
    do(tiny, "send", "a", "van")
    assert tiny.services["carrier"].wait_dead(LIMIT_S)
    tiny.services["carrier"].start()

    assert places(tiny)["a"] is None


def test_nothing_of_a_send_outlives_a_reset(tiny: Tiny, controller: Controller) -> None:
    arm = hold(tiny, controller, "carry.put")
    do(tiny, "send", "a", "van")
    held = hit(arm)

    tiny.reset(frozenset())

    assert tiny.services["carrier"].pid not in (None, held.pid)
    assert tiny.services["carrier"].state is ServiceState.READY
    assert tiny.observe() == TinyWorld()


def test_a_client_that_hangs_up_without_a_word_is_not_served_for_ever(tiny: Tiny) -> None:
    silent = socket.create_connection(("127.0.0.1", tiny.port("desk")))
    with silent, pytest.raises(NotSettled, match="not read yet"):
        tiny.settle(0.5)

    tiny.settle(LIMIT_S)


def test_a_frozen_desk_is_reset_at_once(tiny: Tiny) -> None:
    tiny.services["desk"].freeze()

    began = time.monotonic()
    tiny.reset(frozenset())

    assert time.monotonic() - began < 2.0
    do(tiny, "make", "a", "shelf")


def test_cleaning_up_drops_what_the_plan_made_and_nothing_else(tiny: Tiny) -> None:
    before = tiny.observe()
    scope = scope_of(tiny)
    for name in ("c", "d"):
        tiny.operations["parcel.make"].function(scope, name, "van", 3)
    tiny.operations["parcel.drop"].function(scope, "c")

    tiny.clean_up(scope)

    assert tiny.observe() == before


def test_cleaning_up_drops_a_parcel_whose_making_was_never_answered(
    tiny: Tiny, controller: Controller
) -> None:
    before, scope = tiny.observe(), scope_of(tiny)
    controller.arm(tiny.points["desk.make"], When.AFTER, Action.crash())
    with pytest.raises(OperationIndeterminate):
        tiny.operations["parcel.make"].function(scope, "c", "van")
    assert "c" in places(tiny)
    assert tiny.services["desk"].wait_dead(LIMIT_S)
    tiny.services["desk"].start()

    tiny.clean_up(scope)

    assert tiny.observe() == before


# ---------------------------------------------------------------------- what commutes


def touched(tiny: Tiny, function: str, **told: str) -> Access:
    (point,) = (a for a in tiny.accesses if a.point.function.endswith(function))
    assert set(point.arguments) == told.keys()
    (access,) = point.read("desk", told)
    return access


def test_steps_conflict_when_they_touch_the_same_and_one_writes(tiny: Tiny) -> None:
    def of(function: str, key: str, table: str = "parcel") -> Access:
        return touched(tiny, f"Store.{function}", table=table, key=key)

    assert of("write", "a").conflicts(of("read", "a"))
    assert not of("read", "a").conflicts(of("read", "a"))
    assert not of("write", "a").conflicts(of("write", "b"))
    assert of("add", "van", "usage").conflicts(of("add", "van", "usage"))
    assert not of("add", "van", "usage").conflicts(of("write", "van"))
    assert of("write", "1", "outbox").conflicts(touched(tiny, "Store.keys", table="outbox"))
    lock = touched(tiny, "Desk.hold", parcel="a")
    assert lock.conflicts(touched(tiny, "Desk.hold", parcel="a"))
    assert not lock.conflicts(touched(tiny, "Desk.hold", parcel="b"))


@pytest.mark.parametrize(
    ("asked", "functions"),
    [
        (("move", "a", "van"), {"read": 1, "write": 1, "add": 2, "hold": 0}),
        (("claim", "a", "carol"), {"read": 2, "write": 1, "add": 0, "hold": 0}),
        (("swap", "a", "b"), {"read": 4, "write": 2, "add": 4, "hold": 2}),
    ],
)
def test_all_that_an_operation_touches_is_told(
    tiny: Tiny, controller: Controller, asked: tuple[str, ...], functions: dict[str, int]
) -> None:
    arms = {
        access.point.function.rpartition(".")[2]: controller.arm(
            access.point,
            When.BEFORE,
            Action.record(access.arguments),
            requests=("request-1",),
            times=None,
        )
        for access in tiny.accesses
    }

    do(tiny, *asked)

    for name, count in functions.items():
        if count:
            hit(arms[name], count)
    assert {name: len(arms[name].hits) for name in functions} == functions
