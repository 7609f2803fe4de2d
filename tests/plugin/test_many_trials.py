"""``chaos run`` with very many cases: the loop costs the same for each, and says what matters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chaos.cli import running
from chaos.journal import Journal, Round, Trial
from chaos.summary import TOLD
from tests.reports.nightly import trial


class Session(AbstractContextManager["Session"]):
    """Journals like the real one, and executes nothing; a case is the trial to be journaled."""

    def __init__(
        self, target: str, journal: Journal, on_trial: Callable[[Trial], None], **_: object
    ) -> None:
        self.journal, self.on_trial = journal, on_trial

    def run(self, case: Any) -> None:
        began = replace(case.trial, verdict=None, rounds=0, ended_ns=None)
        self.journal.begin(began)
        for number in range(1, case.trial.rounds + 1):
            self.journal.end_round(began.id, Round(number, "", case.trial.verdict, ""))
        ended = replace(case.trial, ended_ns=began.started_ns + 10_000_000)
        self.journal.end(ended)
        self.on_trial(ended)

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""


class Case:
    """Stands for ``chaos.engine.session.Case``."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.name = trial, trial.title_of_case


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the loop of ``chaos run`` with these trials; the exit status."""
    module = ModuleType("chaos.engine.session")
    module.__dict__.update(Session=Session, Case=Case)
    monkeypatch.setitem(sys.modules, "chaos.engine.session", module)
    monkeypatch.setattr(running, "_by_target", lambda todo, target: {"ledger": list(todo)})

    def run(*trials: Trial) -> int:
        return running.run_cases([Case(each) for each in trials], "", tmp_path)  # type: ignore[misc]

    return run


def passed(number: int, **other: Any) -> Trial:
    return trial("crash", number, **{"verdict": "PASS", "rounds": 1, **other})


def test_the_trials_are_read_as_often_however_many_there_are(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = [0], Journal.trials

    def counted(journal: Journal) -> tuple[Trial, ...]:
        reads[0] += 1
        return read(journal)

    monkeypatch.setattr(Journal, "trials", counted)
    each = []
    for count in (2, 40):
        reads[0] = 0
        run(*(passed(number) for number in range(count)))
        each.append(reads[0])

    assert each[0] == each[1]


def test_trials_of_one_kind_are_one_line_of_the_summary_and_one_command(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(passed(number, rounds=2) for number in range(40))) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split() for line in told if "crash " in line] == [
        ["✓", "crash", "off", "PASS", "40", "80", "0.40"]
    ]
    assert len([line for line in told if "chaos run" in line]) == 1


def test_each_unexpected_trial_is_told_by_itself_up_to_a_limit(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    failed = [passed(number, verdict="FAIL", reason=f"reason {number}") for number in range(150)]
    assert run(*failed, passed(150)) == 1
    told = capsys.readouterr().out.splitlines()
    assert len([line for line in told if line.startswith("reason ")]) == TOLD
    assert "… and 50 more that are not as expected" in told


def test_a_skipped_trial_is_neither_red_nor_green_and_says_why(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = passed(1, case="slow link", verdict="SKIPPED", rounds=0, reason="it has no links")
    assert run(skipped, passed(2)) == 0
    told = capsys.readouterr()
    assert "○ crash[slow link]: SKIPPED (0.01 s): it has no links" in told.err
    assert "crash[slow link]: it has no links" in told.out


def test_a_note_is_told_beside_the_verdict(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*map(passed, range(3)), passed(3, note="undo failed: no [network]")) == 0
    told = capsys.readouterr()
    assert "✓ crash: PASS (0.01 s): undo failed: no [network]" in told.err
    assert "crash: undo failed: no [network]" in told.out
