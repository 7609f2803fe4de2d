"""race: what of the tiny target only the order of two requests decides."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.history import Kind
from chaos.language.bind import UnboundPlan
from chaos.plan import Plan, inject, step, together
from chaos.verdict import Verdict
from tests.conftest import Running
from tests.tiny.plans import plan

READ, WRITE = "before claim.read", "before claim.write"
ANNA, BERT = (
    step("parcel.claim", parcel="p", by=name, label=name, allow=(409,)) for name in ("anna", "bert")
)


def race(*points: str, name: str = "race", crashes: int = 0, **parts: Any) -> Plan:
    """Two claim the same parcel."""
    racing = inject("race", actors=["anna", "bert"], points=list(points), crashes=crashes)
    return plan(racing, name=name, during=(together(ANNA, BERT),), **parts)


def test_a_check_that_is_made_again_holds_in_every_order(tiny: Running) -> None:
    outcome = tiny.run(race(READ, WRITE))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert outcome.rounds > 1


def test_a_check_that_is_not_made_again_fails_in_some_order_and_names_it(tiny: Running) -> None:
    outcome = tiny.run(race(READ, WRITE), bug="blind-claim")
    assert outcome.violated == ("one-owner",)
    again = tiny.run(race(READ, WRITE), bug="blind-claim", schedule=str(outcome.schedule))
    assert again.violated == ("one-owner",)


def test_a_race_without_the_window_does_not_see_it(tiny: Running) -> None:
    assert tiny.run(race(READ), bug="blind-claim").verdict is Verdict.PASS


def test_a_service_may_die_wherever_an_actor_is_held(tiny: Running) -> None:
    outcome = tiny.run(race(WRITE, name="race-and-die", crashes=1, schedules={"every": 100}))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    died = [s for s in tiny.schedules if "crash:" in s]
    assert died
    assert len(died) < len(tiny.schedules)


def test_a_death_in_a_race_is_told_as_one(tiny: Running) -> None:
    outcome = tiny.run(race(WRITE, name="die", crashes=1), schedule="crash:anna")
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    told = [event.data["text"] for event in events if event.kind is Kind.FAULT]
    assert outcome.verdict is Verdict.PASS
    assert told[0] == "desk dies with anna before claim.write"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"actors": ["anna"], "points": [READ]}, "`actors` must have at least 2"),
        ({"actors": ["anna", "anna"], "points": [READ]}, "`anna` is listed twice"),
        ({"actors": ["anna", "berta"], "points": [READ]}, "did you mean `bert`"),
        ({"actors": ["anna", "bert"], "points": []}, "`points` must not be empty"),
        (
            {"actors": ["anna", "bert"], "points": ["before claim.raed"]},
            "did you mean `claim.read`",
        ),
        ({"actors": ["anna", "bert"], "points": [READ], "crashes": 4}, "3"),
    ],
)
def test_a_race_that_cannot_be_one_is_told_before_anything_runs(
    tiny: Running, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(UnboundPlan) as error:
        tiny.run(plan(inject("race", **arguments), during=(together(ANNA, BERT),)))
    assert told in str(error.value)
