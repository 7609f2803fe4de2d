"""Races: every order of the actors at the listed points, once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chaos.plan import Location, Plan, Recovery, inject, step, together
from chaos.point import When
from chaos.verdict import Verdict
from tests.conftest import Ledger

FIRST = step("transfer", source="alice", target="bob", amount=70, label="first", allow=(409,))
SECOND = step("transfer", source="alice", target="bob", amount=60, label="second", allow=(409,))


def race(*, points: tuple[str, ...], **arguments: Any) -> Plan:
    """Two transfers that the account cannot both bear."""
    return Plan(
        name="race",
        given=(
            step("account.open", name="alice", amount=100),
            step("account.open", name="bob", amount=0),
        ),
        during=(together(FIRST, SECOND),),
        inject=(inject("race", actors=["first", "second"], points=list(points), **arguments),),
    )


def orders(ledger: Ledger) -> list[str]:
    trial = ledger.journal.trials()[-1]
    return [ended.schedule for ended in ledger.journal.rounds(trial.id)]


def test_every_interleaving_of_the_points_is_executed_once(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit", "after transfer.debit")))
    two_each = {" ".join(o) for o in itertools.permutations(["first", "first", "second", "second"])}
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert sorted(orders(ledger)) == sorted(two_each)


def test_the_walk_is_the_same_every_time(ledger: Ledger) -> None:
    plan = race(points=("before transfer.debit", "after transfer.debit"))
    walks = []
    for _ in range(2):
        ledger.run(plan)
        walks.append(orders(ledger))
    assert walks[0] == walks[1]


def test_one_order_can_be_asked_for(ledger: Ledger) -> None:
    plan = race(points=("before transfer.debit", "after transfer.debit"))
    ledger.run(plan, order="second first second first")
    assert orders(ledger) == ["second first second first"]


def test_an_order_that_cannot_be_executed_is_an_error(ledger: Ledger) -> None:
    plan = race(points=("before transfer.debit",))
    outcome = ledger.run(plan, order="first first")
    assert outcome.verdict is Verdict.ERROR
    assert "step 2 wants `first`, but only second could go after first" in outcome.reason


def test_an_order_with_an_unknown_actor_is_an_error(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit",)), order="third")
    assert "the order names `third`, but the actors are first, second" in outcome.reason


def test_a_race_at_a_point_that_nobody_reaches_is_vacuous(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit", "before teller.recover")))
    assert outcome.verdict is Verdict.VACUOUS
    assert "before teller.recover" in outcome.reason


@pytest.mark.parametrize("orders", [["first second"], 1], ids=str)
def test_fewer_orders_are_vacuous_too_when_nobody_is_held(ledger: Ledger, orders: object) -> None:
    outcome = ledger.run(race(points=("before teller.recover",), orders=orders))
    assert outcome.verdict is not Verdict.PASS
    assert "teller.recover" in outcome.reason or "after the start" in outcome.reason


def test_an_order_that_goes_on_when_all_have_ended_is_an_error(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit",)), order="first second second")
    assert outcome.verdict is Verdict.ERROR
    assert "step 3 wants `second`, but nobody could go after first second" in outcome.reason


@pytest.mark.parametrize("orders", [["first"], 1], ids=str)
def test_fewer_orders_of_one_actor_alone_are_vacuous(ledger: Ledger, orders: object) -> None:
    alone = race(points=("before transfer.debit",), orders=orders).model_copy(
        update={
            "during": (together(FIRST, step("account.open", name="c", amount=1, label="second")),)
        }
    )
    outcome = ledger.run(alone)
    assert outcome.verdict is Verdict.VACUOUS
    assert "never waited at the points at the same time" in outcome.reason


def test_who_is_held_by_another_fault_is_not_let_go_by_the_race(ledger: Ledger) -> None:
    plan = race(points=("before transfer.debit", "after transfer.debit"), orders=1)
    kill = inject(
        "restart", at=Location(when=When.BEFORE, point="transfer.credit"), service="vault"
    )
    back = (Recovery(restart="teller"),)
    outcome = ledger.run(plan.model_copy(update={"inject": (*plan.inject, kill), "recover": back}))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert orders(ledger) == ["first first second second"]


def test_a_plan_can_state_its_orders(ledger: Ledger) -> None:
    stated = ["second first second first", "first second second first"]
    ledger.run(race(points=("before transfer.debit", "after transfer.debit"), orders=stated))
    assert orders(ledger) == stated


def test_fewer_orders_can_be_asked_for(ledger: Ledger) -> None:
    ledger.run(race(points=("before transfer.debit", "after transfer.debit"), orders=3))
    assert len(orders(ledger)) == 3


def test_a_race_of_too_many_orders_is_refused_with_what_to_do(ledger: Ledger) -> None:
    outcome = ledger.run(race(points=("before transfer.debit", "after transfer.debit"), limit=4))
    assert outcome.verdict is Verdict.ERROR
    assert "more than 4 orders; list fewer points" in outcome.reason
