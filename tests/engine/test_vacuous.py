"""Why a fault did not strike, as the reason of a VACUOUS tells it."""

from __future__ import annotations

import pytest

from chaos.plan import inject, step
from chaos.point import Point
from chaos.verdict import Verdict
from tests.conftest import Ledger
from tests.engine.test_verdicts import CRASH, plan


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
