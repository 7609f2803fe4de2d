"""A lost answer is no failure, but no evidence either: where it may be lost, and where not."""

from __future__ import annotations

import pytest

from chaos.history import Kind
from chaos.operation import Operation, Scope
from chaos.plan import inject, step
from chaos.verdict import Verdict
from tests.conftest import Ledger, Running
from tests.engine import test_verdicts
from tests.tiny.plans import MOVE, PARCEL, plan

OPEN = step("account.open", name="carol", amount=1)
NO_VAULT = inject("kill", service="vault")
FROZEN = inject("freeze", service="desk")


def test_an_operation_that_is_cut_off_in_the_middle_is_no_failure(tiny: Running) -> None:
    frozen = inject("freeze", at="before desk.move", service="desk")
    outcome = tiny.run(plan(frozen, settle=0.5))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


@pytest.mark.parametrize(
    "during",
    [(OPEN,), (OPEN, step("account.open", name="dave", amount=1))],
    ids=["one", "several"],
)
def test_a_workload_of_which_nothing_reached_the_target_is_vacuous(
    ledger: Ledger, during: object
) -> None:
    outcome = ledger.run(test_verdicts.plan(NO_VAULT, during=during))
    assert outcome.verdict is Verdict.VACUOUS
    assert "Every operation of `during` (account.open) was cut off" in outcome.reason


def test_a_workload_that_a_frozen_service_did_not_answer_is_vacuous(tiny: Running) -> None:
    outcome = tiny.run(plan(FROZEN, settle=0.3))
    assert outcome.verdict is Verdict.VACUOUS
    assert "Every operation of `during` (parcel.move) was cut off" in outcome.reason


def test_a_workload_of_which_one_request_reached_a_point_is_not_vacuous(ledger: Ledger) -> None:
    """The teller had debited when it found no vault; the other operation reached nothing."""
    during = (test_verdicts.TRANSFER, OPEN)
    gone = inject("kill", at="before transfer.credit", service="vault")
    outcome = ledger.run(test_verdicts.plan(gone, during=during, recover=test_verdicts.BACK))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_an_assertion_that_gets_no_answer_fails(ledger: Ledger) -> None:
    expect = step("account.expect", name="bob", balance=0)
    outcome = ledger.run(test_verdicts.plan(NO_VAULT, during=(expect,)))
    assert outcome.violated == ("steps-succeed",)
    assert "during account.expect(name=bob, balance=0)" in outcome.reason
    assert "the answer was lost" in outcome.reason


def test_an_assertion_against_a_dead_service_fails(tiny: Running) -> None:
    gone = step("parcel.expect", parcel="p", exists=False)
    outcome = tiny.run(plan(inject("kill", service="desk"), during=(gone,)))
    assert outcome.violated == ("steps-succeed",)
    assert "nobody listens" in outcome.reason


@pytest.mark.parametrize(
    "look",
    [step("parcel.expect", parcel="p", exists=False), step("parcel.wait", parcel="p", place="b")],
    ids=str,
)
def test_an_assertion_against_a_frozen_service_fails_without_a_traceback(
    tiny: Running, look: object
) -> None:
    outcome = tiny.run(plan(FROZEN, during=(look,), settle=0.3))
    assert outcome.violated == ("steps-succeed",)
    assert "the answer was lost" in outcome.reason
    assert "Traceback" not in outcome.reason


def test_what_was_found_is_told_though_every_operation_was_cut_off(ledger: Ledger) -> None:
    expect = step("account.expect", name="bob", balance=0)
    outcome = ledger.run(test_verdicts.plan(NO_VAULT, during=(OPEN, expect)))
    assert outcome.verdict is Verdict.VACUOUS
    assert "Before that: steps-succeed (during account.expect(" in outcome.reason


@pytest.mark.parametrize("step_", [step("account.expect", name="bob", balance=30), OPEN], ids=str)
def test_a_step_of_then_must_get_its_answer(ledger: Ledger, step_: object) -> None:
    gone = inject("kill", at="after transfer.finish", service="vault")
    outcome = ledger.run(test_verdicts.plan(gone, recover=(), then=(step_,)))
    assert outcome.verdict is Verdict.FAIL
    assert "then account." in outcome.reason
    assert "the answer was lost" in outcome.reason


def test_a_given_whose_answer_is_lost_is_an_error(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(scope: Scope) -> None:
        raise ConnectionResetError("by peer")

    tiny_operations = tiny.session.words.target.operations
    monkeypatch.setitem(tiny_operations, "lose", Operation("lose", lose))
    delay = inject("delay", at="before desk.move", seconds=0.001)
    outcome = tiny.run(plan(delay, given=(PARCEL, step("lose"))))
    assert outcome.verdict is Verdict.ERROR
    assert "`given` could not be established: lose ended unexpectedly" in outcome.reason


def test_an_operation_that_ends_unexpectedly_is_indeterminate_and_its_traceback_is_kept(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(scope: Scope) -> None:
        raise ZeroDivisionError("of a client library")

    operations = tiny.session.words.target.operations
    monkeypatch.setitem(operations, "wrong", Operation("wrong", wrong))
    delay = inject("delay", at="before desk.move", seconds=0.001)
    outcome = tiny.run(plan(delay, name="unexpected", during=(MOVE, step("wrong"))))
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    (lost,) = (event for event in events if event.kind is Kind.INDETERMINATE)
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert "ZeroDivisionError: of a client library" in lost.data["error"]


def test_an_assertion_that_ends_unexpectedly_fails(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(scope: Scope) -> None:
        raise ZeroDivisionError("of a client library")

    operations = tiny.session.words.target.operations
    monkeypatch.setitem(operations, "wrong", Operation("wrong", wrong, asserts=True))
    delay = inject("delay", at="before desk.move", seconds=0.001)
    outcome = tiny.run(plan(delay, during=(MOVE, step("wrong"))))
    assert outcome.violated == ("steps-succeed",)
    assert "wrong ended unexpectedly: ZeroDivisionError: of a client library" in outcome.reason


def test_what_was_made_is_known_though_the_answer_was_lost(tiny: Running) -> None:
    """It is there, can be used, and is cleaned up."""
    made = step("parcel.make", name="q", place="a")
    move = step("parcel.move", parcel="q", to="b")
    there = step("parcel.expect", parcel="q", place="b")
    dies = inject("crash", at="after desk.make")
    outcome = tiny.run(plan(dies, given=(), during=(made,), then=(move, there)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_what_was_not_made_is_missed_where_it_is_used(tiny: Running) -> None:
    made = step("parcel.make", name="q", place="a")
    gone = step("parcel.drop", parcel="q")
    dies = inject("crash", at="before desk.make")
    outcome = tiny.run(plan(dies, given=(), during=(made,), then=(gone,)))
    assert outcome.violated == ("steps-succeed",)
    assert "there is no parcel q" in outcome.reason
