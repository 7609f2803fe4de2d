"""What is expected of a plan: it differs by target, and a target may lack what a plan needs."""

from __future__ import annotations

import pytest

from chaos.engine.case import Case
from chaos.plan import Plan, inject
from chaos.target import Target
from chaos.verdict import Expectation, Verdict
from tests.conftest import Running
from tests.tiny.plans import SEND, plan

LOST = plan(
    inject("crash", at="before carry.put"),
    name="lost",
    during=(SEND,),
    bugs={"lost-send": ("parcels-somewhere",)},
)


@pytest.fixture
def target(tiny: Running) -> Target:
    return tiny.session.words.target


def expected(tiny: Running, plan: Plan, bug: str = "") -> Expectation:
    return tiny.session.expected(Case(plan, bug))


# ---------------------------------------------------------------------- defects of the target


def test_without_a_switch_a_pass_is_expected_and_with_it_what_sees_it(tiny: Running) -> None:
    assert expected(tiny, LOST) == Expectation()
    assert expected(tiny, LOST, "lost-send") == Expectation(Verdict.FAIL, ("parcels-somewhere",))


@pytest.mark.parametrize("bug", ["", "lost-send"])
def test_a_plan_that_sees_its_bug_is_as_expected(tiny: Running, bug: str) -> None:
    outcome = tiny.run(LOST, bug=bug)
    assert outcome.meets(expected(tiny, LOST, bug)), outcome
    assert tiny.journal.trials()[-1].as_expected


def test_a_defect_that_the_target_really_has_is_expected_with_all_switches_off(
    tiny: Running, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "defects", frozenset({"lost-send"}))
    assert expected(tiny, LOST) == Expectation(Verdict.FAIL, ("parcels-somewhere",))
    outcome = tiny.run(LOST)
    assert outcome.verdict is Verdict.PASS
    assert not outcome.meets(expected(tiny, LOST))
    trial = tiny.journal.trials()[-1]
    assert (trial.expected, trial.as_expected, trial.unexpected) == ("FAIL", False, True)


def test_a_defect_that_the_target_has_and_a_plan_does_not_name_changes_nothing(
    tiny: Running, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "defects", frozenset({"torn-move"}))
    assert expected(tiny, LOST) == Expectation()


def test_a_fail_of_another_invariant_is_not_the_expected_one(tiny: Running) -> None:
    blind = LOST.model_copy(update={"bugs": {"lost-send": ("usage-matches",)}})
    outcome = tiny.run(blind, bug="lost-send")
    assert outcome.verdict is Verdict.FAIL
    assert not outcome.meets(expected(tiny, blind, "lost-send"))


# ---------------------------------------------------------------------- what a target lacks


def test_a_bug_switch_that_the_target_lacks_skips_that_case_alone(tiny: Running) -> None:
    elsewhere = LOST.model_copy(update={"bugs": {**LOST.bugs, "lost-sent": ("usage-matches",)}})
    outcome = tiny.run(elsewhere, bug="lost-sent")
    assert outcome.verdict is Verdict.SKIPPED
    assert outcome.rounds == 0
    assert (
        "target `tiny` has no bug switch `lost-sent`; did you mean `lost-send`?" in outcome.reason
    )
    trial = tiny.journal.trials()[-1]
    assert (trial.verdict, trial.skipped, trial.unexpected) == ("SKIPPED", True, False)
    assert tiny.run(elsewhere).verdict is Verdict.PASS
    assert tiny.run(elsewhere, bug="lost-send").verdict is Verdict.FAIL


def test_a_capability_that_the_target_lacks_skips_the_plan_and_says_which(tiny: Running) -> None:
    needy = LOST.model_copy(update={"needs": ("links", "clock")})
    for bug in ("", "lost-send"):
        outcome = tiny.run(needy, bug=bug)
        assert outcome.verdict is Verdict.SKIPPED
        assert "target `tiny` has no capability `links`" in outcome.reason
        assert "target `tiny` has no capability `clock`" in outcome.reason


def test_a_capability_that_the_target_has_skips_nothing(
    tiny: Running, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "capabilities", frozenset({"links"}))
    assert tiny.run(LOST.model_copy(update={"needs": ("links",)})).verdict is Verdict.PASS


def test_what_is_skipped_leaves_the_target_alone(tiny: Running) -> None:
    pids = {name: service.pid for name, service in tiny.session.words.target.services.items()}
    tiny.run(LOST.model_copy(update={"needs": ("links",)}))
    assert tiny.schedules == []
    assert pids == {n: service.pid for n, service in tiny.session.words.target.services.items()}
