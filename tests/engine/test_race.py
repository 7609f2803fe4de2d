"""Races: the schedules of the actors at the listed points."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chaos.engine.case import Case
from chaos.language.bind import UnboundPlan
from chaos.plan import Location, Plan, Schedules, inject, restart, step, together
from chaos.point import When
from chaos.verdict import Verdict
from tests.conftest import Ledger

FIRST = step("transfer", source="alice", target="bob", amount=70, label="first", allow=(409,))
SECOND = step("transfer", source="alice", target="bob", amount=60, label="second", allow=(409,))
BOTH = ("before transfer.debit", "after transfer.debit")


def race(*, points: tuple[str, ...], schedules: object = "all") -> Plan:
    """Two transfers that the account cannot both bear; its target tells nothing of accesses."""
    return Plan(
        name="race",
        given=(
            step("account.open", name="alice", amount=100),
            step("account.open", name="bob", amount=0),
        ),
        during=(together(FIRST, SECOND),),
        inject=(inject("race", actors=["first", "second"], points=list(points)),),
        schedules=schedules,
    )


def executed(ledger: Ledger, plan: Plan, **case: Any) -> list[str]:
    """Run it once, and tell which schedules were executed."""
    ledger.run_case(Case(plan, **case))
    return list(ledger.schedules)


def test_every_interleaving_of_the_points_is_executed_once(ledger: Ledger) -> None:
    schedules = executed(ledger, race(points=BOTH))
    two_each = {" ".join(o) for o in itertools.permutations(["first", "first", "second", "second"])}
    assert (ledger.outcome.verdict, ledger.outcome.reason) == (Verdict.PASS, "")
    assert sorted(schedules) == sorted(two_each)


def test_the_walk_is_the_same_every_time(ledger: Ledger) -> None:
    walks = [executed(ledger, race(points=BOTH)) for _ in range(2)]
    assert walks[0] == walks[1]


def test_one_schedule_can_be_asked_for(ledger: Ledger) -> None:
    one = "second first second first"
    stated = Schedules.model_validate([one])
    assert executed(ledger, race(points=BOTH), schedules=stated) == [one]


def test_a_plan_can_state_its_schedules(ledger: Ledger) -> None:
    stated = ["second first second first", "first second second first"]
    assert executed(ledger, race(points=BOTH, schedules=stated)) == stated


def test_fewer_schedules_can_be_asked_for(ledger: Ledger) -> None:
    assert len(executed(ledger, race(points=BOTH, schedules=3))) == 3


@pytest.mark.parametrize("kind", ["random", "pct"])
def test_schedules_at_random_are_as_many_as_were_asked_for(ledger: Ledger, kind: str) -> None:
    assert len(executed(ledger, race(points=BOTH, schedules={kind: 4, "seed": 2}))) == 4


def test_each_schedule_can_be_repeated(ledger: Ledger) -> None:
    plan = race(points=BOTH, schedules=2).model_copy(update={"repeat": 3})
    schedules = executed(ledger, plan)
    assert [len(list(same)) for _, same in itertools.groupby(schedules)] == [3, 3]


def test_a_schedule_that_cannot_be_executed_is_an_error(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=BOTH[:1]), schedule="first first")
    assert outcome.verdict is Verdict.ERROR
    assert "step 2 wants `first`, but only second (goes on) could be chosen" in outcome.reason


def test_a_schedule_that_goes_on_when_all_have_ended_is_an_error(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=BOTH[:1]), schedule="first second second")
    assert outcome.verdict is Verdict.ERROR
    assert "step 3 wants `second`, but only nothing could be chosen" in outcome.reason


def test_a_race_at_a_point_that_nobody_reaches_is_vacuous(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit", "before teller.recover")))
    assert outcome.verdict is Verdict.VACUOUS
    assert "before teller.recover" in outcome.reason


@pytest.mark.parametrize("schedules", [["first second"], 1], ids=str)
def test_fewer_schedules_are_vacuous_too_when_nobody_is_held(
    ledger: Ledger, schedules: object
) -> None:
    outcome = ledger.run(race(points=("before teller.recover",), schedules=schedules))
    assert outcome.verdict is Verdict.VACUOUS
    assert "no actor was ever held at before teller.recover in 1 round" in outcome.reason
    assert "1 rounds" not in outcome.reason


@pytest.mark.parametrize("schedules", [["first"], 1], ids=str)
def test_one_actor_alone_is_vacuous(ledger: Ledger, schedules: object) -> None:
    alone = race(points=("before transfer.debit",), schedules=schedules).model_copy(
        update={
            "during": (together(FIRST, step("account.open", name="c", amount=1, label="second")),)
        }
    )
    outcome = ledger.run(alone)
    assert outcome.verdict is Verdict.VACUOUS
    assert "never waited at the points at the same time" in outcome.reason


def test_actors_that_do_not_race_together_are_refused(ledger: Ledger) -> None:
    apart = race(points=BOTH[:1]).model_copy(update={"during": (FIRST, SECOND)})
    with pytest.raises(UnboundPlan, match="together"):
        ledger.run(apart)


def test_who_is_held_by_another_fault_is_not_let_go_by_the_race(ledger: Ledger) -> None:
    plan = race(points=BOTH, schedules=1)
    kill = inject(
        "restart", at=Location(when=When.BEFORE, point="transfer.credit"), service="vault"
    )
    held = plan.model_copy(update={"inject": (*plan.inject, kill), "recover": (restart("teller"),)})
    schedules = executed(ledger, held)
    assert (ledger.outcome.verdict, ledger.outcome.reason) == (Verdict.PASS, "")
    assert schedules == ["first first second second"]


def test_a_race_of_too_many_schedules_is_refused_with_what_to_do(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=BOTH, schedules={"all": 4}))
    assert outcome.verdict is Verdict.ERROR
    assert "more than 4 schedules; list fewer points" in outcome.reason
    assert "`schedules: {all: 40}`" in outcome.reason


def test_every_schedule_is_refused_with_what_to_do_when_there_are_too_many(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=BOTH, schedules={"every": 4}))
    assert outcome.verdict is Verdict.ERROR
    assert "`schedules: {every: 40}`" in outcome.reason
