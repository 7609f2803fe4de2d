"""Who is held, and for whom the workload waits: never a matter of who happens to be faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps

import pytest

from chaos.history import Kind
from chaos.operation import Operation, Scope
from chaos.plan import Location, Step, actor, inject, reach, start, step, together
from chaos.point import When
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running
from tests.tiny.plans import MOVE, PARCEL, SEND, plan

DROP = step("parcel.drop", parcel="p")
OTHER = step("parcel.make", name="q", place="a")
ARRIVED = step("parcel.wait", parcel="p", place="b")


def passed(outcome: Outcome) -> bool:
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    return True


def order(running: Running, plan_name: str) -> list[str]:
    """What was held and what was done, in order, from the last plan."""
    trial = running.journal.trials()[-1]
    assert trial.plan == plan_name
    told = []
    for event in running.journal.events(trial.id, 1):
        if event.kind in (Kind.FAULT, Kind.UNDO) or event.kind in (Kind.INVOKE, Kind.OK):
            told.append(f"{event.kind} {event.name}")
    return told[told.index("ok parcel.make") + 1 :]


@pytest.fixture
def slow(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], None]:
    """Let an operation of the client begin later than it would."""

    def slow(word: str, seconds: float) -> None:
        operations = tiny.session.words.target.operations
        known = operations[word]

        @wraps(known.function)
        def late(scope: Scope, **arguments: object) -> object:
            time.sleep(seconds)  # what a busy machine does
            return known.function(scope, **arguments)

        monkeypatch.setitem(operations, word, Operation(word, late, known.asserts))

    return slow


# ---------------------------------------------------------------------- one step after another


@pytest.mark.parametrize("until", ["parcel.drop", "gone", "during", ""], ids=str)
def test_a_step_waits_for_the_hold_that_waits_for_it(tiny: Running, until: str) -> None:
    held = inject("pause", at="before carry.take", until=until)
    during = (SEND, DROP.model_copy(update={"label": "gone"}))
    name = f"held-until-{until.replace('.', '-') or 'the-end'}"
    for _ in range(20):
        assert passed(tiny.run(plan(held, name=name, during=during)))
    first = tiny.journal.trials()[-20].id
    events = [event for event in tiny.journal.events(first, 1) if event.kind is not Kind.HIT]
    hold = next(n for n, event in enumerate(events) if event.kind is Kind.FAULT)
    drop = next(n for n, e in enumerate(events) if e.name == "parcel.drop")
    freed = next(n for n, event in enumerate(events) if event.kind is Kind.UNDO)
    assert hold < drop < freed


def test_a_hold_until_a_point_is_waited_for_by_the_last_step(tiny: Running) -> None:
    held = inject("pause", at="before carry.put", until={"reach": "before desk.drop"})
    for _ in range(10):
        assert passed(tiny.run(plan(held, during=(SEND, DROP))))


def test_nobody_waits_for_a_hold_that_nothing_can_bring(tiny: Running) -> None:
    held = inject("pause", at="before carry.take", until="parcel.drop")
    keep = step("parcel.make", name="r", place="a")
    began = time.monotonic()
    outcome = tiny.run(
        plan(held, given=(PARCEL, OTHER), during=(keep, step("parcel.drop", parcel="q"), SEND))
    )
    assert outcome.verdict is Verdict.VACUOUS
    assert "came to `before carry.take` before `parcel.drop` had ended" in outcome.reason
    assert time.monotonic() - began < tiny.session.words.target.limits.settle_s


@pytest.mark.parametrize("first", [(), (OTHER,)], ids=["alone", "after another"])
def test_a_step_cannot_bring_the_hold_that_it_ends(tiny: Running, first: tuple[Step, ...]) -> None:
    """What a step causes goes on beside it: whether that is held before the step ends is luck."""
    held = inject("pause", at="before carry.take", until="parcel.send")
    for _ in range(20):
        outcome = tiny.run(plan(held, during=(*first, SEND, ARRIVED)))
        assert outcome.verdict is Verdict.VACUOUS
        assert "before `parcel.send` had ended" in outcome.reason or (
            "Nobody was held `before carry.take` when `parcel.send` began" in outcome.reason
        )


# ---------------------------------------------------------------------- at the same time


def test_an_actor_waits_for_the_hold_that_waits_for_it(
    tiny: Running, slow: Callable[[str, float], None]
) -> None:
    slow("parcel.move", 0.3)
    held = inject("pause", at="before desk.move", until="other")
    both = together(
        MOVE.model_copy(update={"label": "held"}), OTHER.model_copy(update={"label": "other"})
    )
    assert passed(tiny.run(plan(held, during=(both,))))


def test_the_last_step_of_an_actor_waits_for_the_hold(
    tiny: Running, slow: Callable[[str, float], None]
) -> None:
    slow("parcel.move", 0.3)
    held = inject("pause", at="before desk.move", until="other")
    other = actor("other", OTHER, step("parcel.drop", parcel="q"))
    both = together(MOVE.model_copy(update={"label": "held"}), other)
    assert passed(tiny.run(plan(held, during=(both,))))


def test_two_actors_of_whom_either_may_be_held(tiny: Running) -> None:
    held = inject("pause", at="before desk.make", until="parcel.make")
    both = together(
        OTHER.model_copy(update={"label": "one"}),
        step("parcel.make", name="r", place="a", label="two"),
    )
    assert passed(tiny.run(plan(held, during=(both,))))


def test_an_actor_may_wait_for_what_another_one_brings(
    tiny: Running, slow: Callable[[str, float], None]
) -> None:
    slow("parcel.move", 0.3)
    late = inject("delay", at="before usage.take", seconds=0.01)
    waits = actor("waits", reach("before usage.take"), OTHER)
    both = together(MOVE.model_copy(update={"label": "moves"}), waits)
    assert passed(tiny.run(plan(late, during=(both,))))


def test_actors_that_wait_for_what_nobody_brings_are_vacuous(tiny: Running) -> None:
    never = inject("delay", at="before carry.take", seconds=0.01)
    one = actor("one", reach("before carry.take"), OTHER)
    two = actor("two", reach("before carry.take"), MOVE)
    began = time.monotonic()
    outcome = tiny.run(plan(never, during=(together(one, two),)))
    assert outcome.verdict is Verdict.VACUOUS
    assert time.monotonic() - began < 4


# ---------------------------------------------------------------------- until a point is reached


def test_one_is_held_until_another_comes_to_a_point(tiny: Running) -> None:
    """The parcel is dropped while it is carried: the carrier goes on when the desk has begun."""
    held = inject("pause", at="before carry.put", until={"reach": "before desk.drop"})
    during = (SEND, reach("before carry.put"), DROP)
    assert passed(tiny.run(plan(held, name="held-until-a-point", during=during)))
    told = order(tiny, "held-until-a-point")
    assert told.index("fault pause") < told.index("invoke parcel.drop") < told.index("undo pause")


def test_a_point_that_nobody_comes_to_is_an_error_that_says_so(tiny: Running) -> None:
    held = inject("pause", at="before carry.put", until={"reach": "before claim.read"})
    outcome = tiny.run(plan(held, during=(SEND, OTHER), settle=0.6))
    assert outcome.verdict is Verdict.ERROR
    assert "nobody came to `before claim.read`" in outcome.reason


def test_who_passed_the_point_before_the_hold_is_not_waited_for(tiny: Running) -> None:
    held = inject("pause", at="before carry.put", until={"reach": "before desk.make"})
    outcome = tiny.run(plan(held, during=(OTHER, SEND), settle=0.6))
    assert outcome.verdict is Verdict.ERROR
    assert "nobody came to `before desk.make` after that, only before" in outcome.reason


def test_it_matters_who_comes_to_the_point(tiny: Running) -> None:
    sign = Location(when=When.BEFORE, point="desk.make", actor="right")
    held = inject("pause", at="before carry.put", until={"reach": sign.model_dump()})
    wrong = OTHER.model_copy(update={"label": "wrong"})
    right = step("parcel.make", name="r", place="a", label="right")
    during = (SEND, reach("before carry.put"), wrong, right)
    assert passed(tiny.run(plan(held, name="the-right-one", during=during)))
    told = order(tiny, "the-right-one")
    made = [place for place, what in enumerate(told) if what == "invoke parcel.make"]
    assert told.index("undo pause") > made[1]


# ---------------------------------------------------------------------- in other parts of a plan


def test_a_hold_in_then_ends_with_it(tiny: Running) -> None:
    kill = inject("kill", service="carrier")
    held = inject("pause", at="before carry.take", phase="then")
    outcome = tiny.run(plan(kill, held, name="held-in-then", then=(SEND, OTHER)))
    assert passed(outcome)
    told = order(tiny, "held-in-then")
    told = [what for what in told if "parcel.send" not in what]  # it was answered at once
    assert told[-4:] == ["fault pause", "invoke parcel.make", "ok parcel.make", "undo pause"]


def test_a_hold_in_the_recovery_ends_with_it(tiny: Running) -> None:
    kill = inject("kill", service="carrier")
    held = inject("pause", at="before carry.take", phase="recover")
    outcome = tiny.run(plan(kill, held, name="held-in-recover", recover=(start("*"), SEND, OTHER)))
    assert passed(outcome)
    told = order(tiny, "held-in-recover")
    told = [what for what in told if "parcel.send" not in what]  # it was answered at once
    assert told[-4:] == ["fault pause", "invoke parcel.make", "ok parcel.make", "undo pause"]


def test_a_step_of_an_earlier_part_is_not_the_one_that_a_hold_waits_for(tiny: Running) -> None:
    kill = inject("kill", service="carrier")
    held = inject("pause", at="before carry.take", until="parcel.lend", phase="then")
    lend = step("parcel.lend", parcel="p", to="anna")
    assert passed(tiny.run(plan(kill, held, during=(lend,), then=(SEND, lend))))
