"""Why a fault did not strike, as the reason of a VACUOUS tells it."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.plan import Injection, Location, inject, step
from chaos.point import Point, When
from chaos.verdict import Verdict
from tests.conftest import Ledger, Running
from tests.engine.test_verdicts import CRASH, plan
from tests.tiny.plans import MOVE
from tests.tiny.plans import plan as tiny_plan


def test_it_names_the_step_that_failed_before(ledger: Ledger) -> None:
    too_much = step("transfer", source="alice", target="bob", amount=1000)
    outcome = ledger.run(plan(CRASH, during=(too_much,)))
    assert outcome.verdict is Verdict.VACUOUS
    assert "(it was armed in teller)" in outcome.reason
    assert "Before that: steps-succeed (during transfer(" in outcome.reason


def test_it_says_that_the_point_lies_in_a_module_that_was_not_imported(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ledger.session.words.target
    elsewhere = Point("tests.ledger.vault:Vault.post", "teller")
    monkeypatch.setattr(target, "points", {**target.points, "elsewhere": elsewhere})
    outcome = ledger.run(plan(inject("crash", at="before elsewhere")))
    assert outcome.verdict is Verdict.VACUOUS
    assert "its module was not imported in teller" in outcome.reason


# ---------------------------------------------------------------------- what was asked for


LEND = step("parcel.lend", parcel="p", to="anna")


def missing(running: Running, *injections: Injection, **parts: Any) -> str:
    """Why the plan was VACUOUS."""
    outcome = running.run(tiny_plan(*injections, **parts))
    assert outcome.verdict is Verdict.VACUOUS, outcome
    return outcome.reason


def test_a_point_that_was_reached_too_seldom(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="desk.move", occurrence=5)
    during = [step("parcel.move", parcel="p", to=to) for to in "bcde"]
    reason = missing(tiny, inject("crash", at=at), during=during)
    assert "`before desk.move` was reached 4 times, the plan wants the 5th." in reason


def test_a_fault_of_several_calls_that_struck_only_one(tiny: Running) -> None:
    reason = missing(tiny, inject("delay", at="before desk.move", seconds=0.001, times=50))
    assert "`before desk.move` was reached once and struck once, the plan wants 50." in reason


def test_a_fault_of_several_calls_from_the_third_one_on(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="desk.move", occurrence=3)
    during = [step("parcel.move", parcel="p", to=to) for to in "bcde"]
    reason = missing(tiny, inject("delay", at=at, seconds=0.001, times=3), during=during)
    assert "`before desk.move` was reached 4 times and struck 2 times, the plan wants 3." in reason


def test_a_point_that_was_reached_in_another_service(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="usage.take", service="carrier")
    reason = missing(tiny, inject("crash", at=at))
    assert "`before usage.take` in `carrier` was never reached (it was armed in carrier)" in reason
    assert "`usage.take` was reached in desk, for parcel.move." in reason


def test_a_point_that_was_reached_for_another_actor(tiny: Running) -> None:
    at = Location(when=When.AFTER, point="desk.move", actor="second")
    first = MOVE.model_copy(update={"label": "first"})
    second = LEND.model_copy(update={"label": "second"})
    reason = missing(tiny, inject("crash", at=at), during=(first, second))
    assert "`after desk.move` while serving `second` was never reached" in reason
    assert "`desk.move` was reached in desk, for first." in reason
    assert "returned" not in reason
    assert "raised" not in reason


def test_a_point_that_was_reached_in_another_part_of_the_plan(tiny: Running) -> None:
    reason = missing(tiny, inject("crash", at="before usage.take", phase="then"), then=(LEND,))
    assert "`before usage.take` was never reached (it was armed in carrier, desk)" in reason
    assert "`usage.take` was reached during `during` in desk, for parcel.move." in reason


def test_a_point_that_nobodys_request_reached(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="carrier.tick", actor="mover")
    during = (MOVE.model_copy(update={"label": "mover"}),)
    reason = missing(tiny, inject("crash", at=at), during=during, settle=1.0)
    assert "`carrier.tick` was reached in carrier, for nobody's request." in reason


def test_a_call_that_raised_did_not_return(tiny: Running) -> None:
    nobody = step("parcel.move", parcel="p", to="b", allow=(404,))
    reason = missing(
        tiny, inject("delay", at="after desk.move", seconds=0.001),
        during=(step("parcel.drop", parcel="p"), nobody),
    )  # fmt: skip
    assert "The point `after desk.move` was never reached" in reason
    assert "1 call of it raised, and did not return" in reason


def test_a_call_that_returned_did_not_raise(tiny: Running) -> None:
    at = Location(when=When.AFTER, point="desk.move", raised=True)
    reason = missing(tiny, inject("delay", at=at, seconds=0.001))
    assert "The point `after desk.move raised` was never reached" in reason
    assert "1 call of it returned, and did not raise" in reason


def test_a_call_that_raised_is_struck_where_the_plan_says_so(tiny: Running) -> None:
    at = Location(when=When.AFTER, point="desk.move", raised=True)
    nobody = step("parcel.move", parcel="p", to="b", allow=(404,))
    drop = step("parcel.drop", parcel="p")
    outcome = tiny.run(tiny_plan(inject("delay", at=at, seconds=0.001), during=(drop, nobody)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        ("no_such_module:Error", "no_such_module"),
        ("json:NoSuchError", "json:NoSuchError"),
    ],
)
def test_an_error_of_no_class_is_no_pass_and_says_so(
    tiny: Running, exception: str, told: str
) -> None:
    outcome = tiny.run(tiny_plan(inject("error", at="before desk.move", exception=exception)))
    assert outcome.verdict is Verdict.ERROR
    assert f"`{told}`" in outcome.reason


def test_an_error_that_turns_out_to_be_no_exception_says_so(tiny: Running) -> None:
    error = inject("error", at="before desk.move", exception="colorsys:rgb_to_hsv")
    reason = missing(tiny, error)
    assert "`before desk.move` was reached once, but could not be struck: desk: error:" in reason
    assert "colorsys:rgb_to_hsv" in reason
