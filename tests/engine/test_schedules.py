"""Every choice of a round is in its schedule, and a schedule is read back as it was."""

from __future__ import annotations

import pytest

from chaos.plan import Plan, Schedules, inject, restart, step, together
from chaos.verdict import Verdict
from tests.conftest import Running
from tests.engine.racing import before, claim, parcels, passed, race, send

LATE = inject("delay", at=before("claim.write", "a"), seconds=0.005, maybe=True)


def everything() -> Plan:
    """A fault that may strike, two races at once, a death in one of them, and a third one after."""
    return Plan(
        name="everything",
        given=parcels("p", "q"),
        during=(
            together(claim("p", "a"), claim("p", "b"), send("q", "y", "c"), send("q", "z", "d")),
            step("parcel.expect", parcel="p"),
            together(claim("q", "e"), claim("q", "f")),
        ),
        inject=(
            LATE,
            inject("race", actors=["a", "b"], points=["before claim.write"]),
            inject("race", actors=["c", "d"], points=["before carry.put"], crashes=1),
            inject("race", actors=["e", "f"], points=["before claim.read"]),
        ),
        recover=(restart("carrier"),),
        invariants=("parcels-somewhere", "one-owner"),
        schedules=Schedules(random=12, seed=5),
    )


def test_every_choice_of_a_round_is_in_its_schedule(tiny: Running) -> None:
    schedules = passed(tiny, everything())
    assert len(schedules) == 12
    for schedule in schedules:
        strikes, *steps = schedule.split()
        assert strikes in ("strike", "spare")
        assert {*steps[-2:]} == {"e", "f"}
        assert {"a", "b"} <= {*steps[:-2]}
    assert any("crash:" in schedule for schedule in schedules)
    assert any("c" in schedule.split() for schedule in schedules)


def test_a_schedule_is_read_back_as_it_was(tiny: Running) -> None:
    plan = everything()
    for schedule in passed(tiny, plan)[:8]:
        assert passed(tiny, plan, schedule=schedule) == [schedule]


def test_a_schedule_that_failed_fails_again_when_it_is_read_back(tiny: Running) -> None:
    plan = race("claims", claim("p", "a"), claim("p", "b"), points=("before claim.write",))
    outcome = tiny.run(plan, "blind-claim")
    again = tiny.run(plan, "blind-claim", str(outcome.schedule))
    assert again.violated == outcome.violated == ("one-owner",)
    assert tiny.journal.trials()[-1].reproduce == ""  # a plan in Python has no file to run


@pytest.mark.parametrize("shape", ["locks", "strands"])
def test_every_schedule_can_be_repeated(tiny: Running, shape: str) -> None:
    actors = {
        "locks": [step("parcel.lend", parcel="p", to=name, label=name) for name in "ab"],
        "strands": [send("p", "y", "a"), send("q", "y", "b")],
    }[shape]
    plan = race("repeated", *actors, points=("before lend.inside", "before carry.put"))
    plan = plan.model_copy(update={"name": shape, "repeat": 3, "inject": (
        inject("race", actors=["a", "b"],
               points=["before lend.inside" if shape == "locks" else "before carry.put"]),
    )})  # fmt: skip
    schedules = passed(tiny, plan)
    assert len(schedules) == 3 * len({*schedules})


def test_a_schedule_that_is_too_short_for_its_plan_goes_on_with_the_first(tiny: Running) -> None:
    plan = race("short", claim("p", "a"), claim("q", "b"), points=("before claim.write",))
    assert passed(tiny, plan, schedule="b") == ["b a"]


def test_a_death_that_cannot_be_is_an_error_with_what_could_be(tiny: Running) -> None:
    plan = race("no-death", claim("p", "a"), claim("q", "b"), points=("before claim.write",))
    outcome = tiny.run(plan, schedule="crash:a")
    assert outcome.verdict is Verdict.ERROR
    assert "step 1 wants `crash:a`, but only a or b (goes on)" in outcome.reason
