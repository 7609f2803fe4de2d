"""What the engine says of a plan, on a real ledger: PASS, FAIL, VACUOUS or ERROR, and why."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chaos.engine.judgement import unexplained_deaths
from chaos.errors import UndoError
from chaos.history import Event, History, Kind
from chaos.invariant import Checked, Evidence, Invariant
from chaos.journal import Journal
from chaos.operation import Operation, Scope
from chaos.plan import Injection, Location, Plan, inject, reach, restart, start, step, together
from chaos.point import When
from chaos.safety.undo import UndoLog
from chaos.target import ServiceState
from chaos.verdict import Verdict
from tests.conftest import Ledger, Running
from tests.tiny.plans import plan as tiny_plan

GIVEN = (
    step("account.open", name="alice", amount=100),
    step("account.open", name="bob", amount=0),
)
TRANSFER = step("transfer", source="alice", target="bob", amount=30)
CRASH = inject("crash", at="before transfer.credit")
BACK = (start("vault"), restart("teller"))


def plan(*injections: Injection, name: str = "plan", **parts: Any) -> Plan:
    """Alice has 100 and pays Bob 30."""
    return Plan(
        **{
            "name": name,
            "given": GIVEN,
            "during": (TRANSFER,),
            "inject": injections,
            **parts,
        }
    )


def test_a_crash_that_is_recovered_from_passes(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH, then=(step("account.expect", name="bob", balance=30),)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_defect_in_recovery_fails_and_names_the_invariant_with_its_evidence(
    ledger: Ledger,
) -> None:
    outcome = ledger.run(plan(CRASH), bug="lost-credit")
    assert outcome.verdict is Verdict.FAIL
    assert "money-is-kept" in outcome.violated
    assert "opened with 100 and hold 70" in outcome.reason


def test_the_same_plan_passes_again_after_a_defect(ledger: Ledger) -> None:
    ledger.run(plan(CRASH), bug="lost-credit")
    assert ledger.run(plan(CRASH)).verdict is Verdict.PASS


def test_a_point_that_is_never_reached_is_vacuous_and_tells_which_were(ledger: Ledger) -> None:
    never = inject("crash", at=Location(when=When.BEFORE, point="transfer.credit", occurrence=2))
    outcome = ledger.run(plan(never))
    assert outcome.verdict is Verdict.VACUOUS
    assert "`before transfer.credit` was reached once, the plan wants the 2nd" in outcome.reason
    assert "before transfer.debit, before vault.post, before transfer.credit" in outcome.reason


def test_a_given_that_cannot_be_established_is_an_error(ledger: Ledger) -> None:
    wrong = (*GIVEN, step("account.expect", name="alice", balance=1))
    outcome = ledger.run(plan(CRASH, given=wrong))
    assert outcome.verdict is Verdict.ERROR
    assert "`given` could not be established" in outcome.reason


def test_a_step_that_the_target_refuses_fails(ledger: Ledger) -> None:
    too_much = step("transfer", source="alice", target="bob", amount=1000)
    outcome = ledger.run(
        plan(inject("delay", at="before transfer.debit", seconds=0.001), during=(too_much,))
    )
    assert outcome.violated == ("steps-succeed",)


def test_a_refusal_that_the_plan_allows_passes(ledger: Ledger) -> None:
    too_much = step("transfer", source="alice", target="bob", amount=1000, allow=(409,))
    outcome = ledger.run(
        plan(inject("delay", at="before transfer.debit", seconds=0.001), during=(too_much,))
    )
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_an_expectation_that_does_not_hold_fails(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH, then=(step("account.expect", name="bob", balance=31),)))
    assert "bob holds 30, not 31" in outcome.reason


def test_a_service_that_is_not_brought_back_does_not_settle(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH, recover=(), settle=0.3))
    assert outcome.violated == ("settles",)
    assert "settles (settled): OpenTransfer(" in outcome.reason


def test_a_service_that_dies_of_something_else_fails(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller = ledger.session.words.target.services["teller"]

    def kill_from_outside(_: Scope) -> None:
        assert teller.pid is not None
        os.kill(teller.pid, signal.SIGKILL)
        assert teller.wait_dead(5)

    stranger = Operation("stranger.kill", kill_from_outside)
    monkeypatch.setitem(ledger.session.words.target.operations, stranger.name, stranger)
    outcome = ledger.run(
        plan(
            inject("delay", at="before transfer.debit", seconds=0.001),
            during=(TRANSFER, step("stranger.kill")),
        )
    )
    assert outcome.violated == ("services-live",)
    assert "teller ended by itself (9)" in outcome.reason


def test_a_race_without_a_choice_counts_its_rounds(ledger: Ledger) -> None:
    outcome = ledger.run(
        plan(
            inject("race", actors=["only", "other"], points=["before teller.recover"]),
            during=(
                together(
                    TRANSFER.model_copy(update={"label": "only"}),
                    step("account.open", name="carol", amount=1, label="other"),
                ),
            ),
        )
    )
    assert (outcome.verdict, outcome.rounds) == (Verdict.VACUOUS, 1)


def test_only_the_invariants_that_a_plan_names_are_judged(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH, invariants=("no-negative-balance",)), bug="lost-credit")
    assert outcome.verdict is Verdict.PASS


def test_a_step_that_fails_is_judged_whatever_invariants_a_plan_names(ledger: Ledger) -> None:
    wrong = (step("account.expect", name="bob", balance=31),)
    outcome = ledger.run(plan(CRASH, then=wrong, invariants=("no-negative-balance",)))
    assert outcome.violated == ("steps-succeed",)


def test_what_does_not_settle_is_judged_whatever_invariants_a_plan_names(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH, recover=(), settle=0.3, invariants=("money-is-kept",)))
    assert outcome.violated == ("settles",)


@pytest.mark.parametrize("word", ["kill", "restart"])
def test_a_fault_on_a_service_that_is_dead_already_is_vacuous(ledger: Ledger, word: str) -> None:
    outcome = ledger.run(plan(inject("kill", service="vault"), inject(word, service="vault")))
    assert outcome.verdict is Verdict.VACUOUS
    assert f"{word} `vault` struck nothing" in outcome.reason


def test_a_pause_is_told_before_it_is_undone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_the_pause(_: Scope) -> None:
        stage = ledger.session._engine._stage
        assert stage is not None
        assert stage.wait_for(
            lambda: any(hit.action == "pause" for hit in stage.sightings.parked()), 5
        )

    waiting = Operation("pause.wait", wait_for_the_pause)
    monkeypatch.setitem(ledger.session.words.target.operations, waiting.name, waiting)
    outcome = ledger.run(
        plan(
            inject("pause", at="after transfer.debit", until="pause.wait"),
            during=(together(TRANSFER.model_copy(update={"label": "held"}), step("pause.wait")),),
        )
    )
    events = ledger.journal.events(ledger.journal.trials()[-1].id, 1)
    told = [e.kind for e in events if e.kind in (Kind.FAULT, Kind.UNDO)]
    assert (outcome.verdict, told) == (Verdict.PASS, [Kind.FAULT, Kind.UNDO])


def test_a_pause_that_is_reached_too_late_is_vacuous(ledger: Ledger) -> None:
    outcome = ledger.run(
        plan(
            inject("pause", at="before transfer.credit", until="account.open"),
            during=(step("account.open", name="carol", amount=1), TRANSFER),
        )
    )
    assert outcome.verdict is Verdict.VACUOUS


def test_nothing_of_a_round_goes_on_when_it_has_ended(ledger: Ledger) -> None:
    outcome = ledger.run(plan(inject("kill", at="before teller.recover", service="vault")))
    assert outcome.verdict is Verdict.VACUOUS
    assert [t.name for t in threading.enumerate() if t.name == "chaos-kill"] == []


def test_a_service_that_dies_after_it_was_killed_and_crashed_is_noticed() -> None:
    history = History()
    history.add(Kind.HIT, "vault", "vault.post", action="crash")
    history.add(Kind.SERVICE, "vault", "killed")
    history.add(Kind.SERVICE, "vault", "exited", signal=9)
    assert list(unexplained_deaths(history)) == []
    history.add(Kind.SERVICE, "vault", "exited", code=1)
    assert list(unexplained_deaths(history)) == ["vault ended by itself (1); see its log"]


def test_an_event_that_the_journal_does_not_take_is_an_error(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal.event

    def full(journal: Journal, trial: str, number: int, event: Event) -> None:
        if event.kind is Kind.HIT:
            raise sqlite3.OperationalError("database or disk is full")
        write(journal, trial, number, event)

    monkeypatch.setattr(Journal, "event", full)
    outcome = ledger.run(plan(CRASH))
    assert outcome.verdict is Verdict.ERROR
    assert "not every event could be recorded" in outcome.reason
    assert "database or disk is full" in outcome.reason


def test_whatever_cannot_be_undone_nothing_stays_armed_or_down(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(_: UndoLog) -> None:
        raise UndoError("could not undo")

    monkeypatch.setattr(UndoLog, "undo_all", stuck)
    never = inject("kill", at="before teller.recover", service="vault")
    outcome = ledger.run(plan(inject("kill", service="vault"), never))
    monkeypatch.undo()
    assert "could not undo" in outcome.note
    assert set(ledger.session.armed().values()) == {()}
    assert ledger.session.words.target.services["vault"].state is ServiceState.READY


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be undone."""

    def fails(_: UndoLog) -> None:
        raise UndoError("could not undo")

    monkeypatch.setattr(UndoLog, "undo_all", fails)


@pytest.mark.usefixtures("stuck")
def test_a_pass_of_which_something_could_not_be_undone_is_none(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH))
    assert outcome.verdict is Verdict.ERROR
    assert "Not everything could be undone: UndoError: could not undo" in outcome.reason


@pytest.mark.usefixtures("stuck")
def test_what_could_not_be_undone_is_told_beside_a_finding(ledger: Ledger) -> None:
    outcome = ledger.run(plan(CRASH), bug="lost-credit")
    assert outcome.verdict is Verdict.FAIL
    assert "money-is-kept" in outcome.violated
    assert "undo" not in outcome.reason
    assert "could not undo" in outcome.note
    assert "could not undo" in ledger.journal.trials()[-1].note
    assert ledger.journal.trials()[-1].violated == outcome.violated


def breaks(evidence: Evidence) -> Iterator[str]:
    if evidence.observations[-1].moment == "settled":
        raise ZeroDivisionError("in the invariant itself")
    yield from ()


def test_what_was_found_before_an_error_is_told(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Invariant("broken", Checked.SETTLED, breaks)
    known = {"money-is-kept": ledger.session.words.invariants["money-is-kept"], "broken": broken}
    monkeypatch.setattr(ledger.session, "words", replace(ledger.session.words, invariants=known))
    outcome = ledger.run(plan(CRASH), bug="lost-credit")
    assert outcome.verdict is Verdict.ERROR
    assert "ZeroDivisionError: in the invariant itself" in outcome.reason
    assert "Before that: money-is-kept (settled): the accounts were opened" in outcome.reason


def test_what_an_invariant_has_found_stands_though_a_later_fault_did_not_strike(
    tiny: Running,
) -> None:
    half = inject("crash", at="before usage.take")
    never = inject("crash", at="before carry.take")
    outcome = tiny.run(tiny_plan(half, never), bug="torn-move")
    assert outcome.verdict is Verdict.FAIL
    assert outcome.violated == ("usage-matches",)
    assert "After that: The point `before carry.take` was never reached" in outcome.reason
    assert tiny.run(tiny_plan(half, never)).verdict is Verdict.VACUOUS


@pytest.mark.parametrize(
    "injection",
    [
        inject("delay", at="before transfer.credit", seconds=0.01),
        inject("kill", at="before transfer.credit", service="vault"),
        inject("kill", at="before transfer.finish", service="teller"),
        inject("restart", at="before transfer.credit", service="vault"),
        inject("freeze", at="after transfer.finish", service="vault"),
        inject("kill", service="vault"),
        inject("error", at="before transfer.credit", exception="OSError", message="cut"),
    ],
    ids=str,
)
def test_the_ledger_recovers_from_every_kind_of_fault(ledger: Ledger, injection: Injection) -> None:
    back = (start("vault"), restart("teller"))
    outcome = ledger.run(plan(injection, recover=back))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_pause_that_waits_for_its_own_step_is_an_error_that_says_so(ledger: Ledger) -> None:
    outcome = ledger.run(
        plan(inject("pause", at="after transfer.debit", until="transfer"), settle=1.0)
    )
    assert outcome.verdict is Verdict.ERROR
    assert "does that step wait for the one that is held?" in outcome.reason


def test_a_step_can_wait_until_a_fault_has_struck(ledger: Ledger) -> None:
    outcome = ledger.run(
        plan(
            inject("delay", at="after transfer.debit", seconds=0.01),
            during=(TRANSFER, reach("after transfer.debit")),
        )
    )
    assert outcome.verdict is Verdict.PASS


def test_the_hit_of_a_crash_is_in_the_journal_before_the_death(ledger: Ledger) -> None:
    ledger.run(plan(CRASH, name="crash-once"))  # the first of its kind is kept whole
    events = ledger.journal.events(ledger.journal.trials()[-1].id, 1)
    hit = next(e for e in events if e.kind is Kind.HIT and e.data["action"] == "crash")
    death = next(e for e in events if e.kind is Kind.SERVICE and e.name == "exited")
    assert events.index(hit) < events.index(death)
    assert hit.lane == death.lane == "teller"


def test_a_plan_after_an_interrupted_one_starts_from_a_pristine_world(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Scope) -> None:
        raise KeyboardInterrupt

    operation = Operation("interrupt", interrupt)
    monkeypatch.setitem(ledger.session.words.target.operations, operation.name, operation)
    with pytest.raises(KeyboardInterrupt):
        ledger.run(plan(CRASH, during=(step("interrupt"),)))
    outcome = ledger.run(plan(CRASH))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_nothing_stays_armed_after_a_plan(ledger: Ledger) -> None:
    ledger.run(plan(CRASH))
    assert set(ledger.session.armed().values()) == {()}
