"""Steady states: made once for all plans that begin alike, and told as if they were made anew."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.history import Event, Kind
from chaos.operation import Operation, Scope
from chaos.plan import Plan, inject, step
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running, running
from tests.tiny.plans import PARCEL, SEND, plan

LATE = inject("delay", at="before desk.move", seconds=0.001)
ELSEWHERE = step("parcel.make", name="p", place="b")


@pytest.fixture
def made(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a parcel was made, by its place."""
    count: Counter[str] = Counter()
    operations = tiny.session.words.target.operations
    make = operations["parcel.make"]

    @functools.wraps(make.function)
    def counted(scope: Scope, **arguments: Any) -> Any:
        count[arguments["place"]] += 1
        return make.function(scope, **arguments)

    monkeypatch.setitem(operations, "parcel.make", Operation("parcel.make", counted))
    return count


def passes(tiny: Running, *parts: Any, bug: str = "", **more: Any) -> Outcome:
    outcome = tiny.run(plan(*parts, **more), bug=bug)
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    return outcome


def events_of_last(tiny: Running) -> tuple[Event, ...]:
    return tiny.journal.events(tiny.journal.trials()[-1].id, 1)


def test_plans_that_begin_alike_make_their_steady_state_once(
    tiny: Running, made: Counter[str]
) -> None:
    third = step("parcel.make", name="third", place="c")
    begun = (PARCEL, third)
    passes(tiny, LATE, name="one", given=begun)
    passes(
        tiny,
        LATE,
        name="two",
        given=begun,
        during=(SEND, step("parcel.move", parcel="third", to="b")),
    )
    assert made == {"a": 1, "c": 1}


def test_a_plan_that_begins_in_another_way_makes_its_own(tiny: Running, made: Counter[str]) -> None:
    passes(tiny, LATE, given=(ELSEWHERE,), name="elsewhere")
    passes(tiny, LATE, given=(PARCEL, step("parcel.move", parcel="p", to="b")), name="moved")
    assert made["b"] == 1
    assert made["a"] == 1


def test_a_bug_switch_makes_its_own(tiny: Running, made: Counter[str]) -> None:
    begun = (PARCEL, step("parcel.make", name="q", place="d"))
    passes(tiny, LATE, given=begun)
    passes(tiny, LATE, given=begun, bug="torn-move", invariants=("parcels-somewhere",))
    passes(tiny, LATE, given=begun)
    assert made["d"] == 2


def test_only_the_last_few_are_kept(tiny: Running, made: Counter[str]) -> None:
    def begun(number: int) -> tuple[Any, ...]:
        return (PARCEL, step("parcel.make", name=f"q{number}", place="e"))

    for number in range(9):
        passes(tiny, LATE, given=begun(number))
    passes(tiny, LATE, given=begun(8))
    assert made["e"] == 9
    passes(tiny, LATE, given=begun(0))
    assert made["e"] == 10


def test_a_kept_steady_state_is_told_as_if_it_had_just_been_reached(tiny: Running) -> None:
    passes(tiny, LATE, name="makes-it")
    passes(tiny, LATE, name="takes-it-over")
    trial, events = tiny.journal.trials()[-1], events_of_last(tiny)
    told = [(event.kind, event.name) for event in events]
    assert told.index((Kind.OK, "parcel.make")) < told.index((Kind.WORLD, "given"))
    given = next(event for event in events if event.name == "given" and event.kind is Kind.WORLD)
    assert trial.started_ns <= given.at_ns <= events[-1].at_ns
    assert [event.at_ns for event in events[: told.index((Kind.WORLD, "given")) + 1]] == sorted(
        event.at_ns for event in events[: told.index((Kind.WORLD, "given")) + 1]
    )


@pytest.mark.parametrize("name", ["the-points-are-armed-first", "they-stay-armed"])
def test_what_is_done_for_the_steady_state_is_no_hit_of_the_plan(tiny: Running, name: str) -> None:
    begun = (PARCEL, step("parcel.make", name=name, place="a"))
    passes(tiny, LATE, given=begun, name=name)
    hits = {event.name for event in events_of_last(tiny) if event.kind is Kind.HIT}
    assert "desk.move" in hits
    assert "desk.make" not in hits


# ---------------------------------------------------------------------- what is past


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The reference, whose log of actions no user can delete."""
    yield from running("reference", tmp_path_factory.mktemp("reference") / "journal.sqlite")


def test_what_is_past_does_not_pile_up_from_trial_to_trial(
    reference: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = reference.session.words.target
    seen: list[int] = []

    def look(_: Scope) -> None:
        seen.append(len(target.observe().actions))  # type: ignore[attr-defined]

    monkeypatch.setitem(target.operations, "look", Operation("look", look))
    for number in range(3):
        outcome = reference.run(
            Plan(
                name=f"boot-{number}",
                during=(step("look"), step("server.create", name="vm")),
                inject=(inject("delay", at="before compute.build", seconds=0.001),),
            )
        )
        assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert seen == [0, 0, 0]
