"""Our own suites: every defect is caught, every invariant is shown to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engine.case import Case, cases
from chaos.engine.session import Session
from chaos.invariant import RECOVERABLE
from chaos.journal import Journal
from chaos.language.catalogue import vocabulary
from chaos.language.loader import find, load
from chaos.verdict import Verdict

CELLS = "suites.cells:target"
SUITES = Path(__file__).parents[2] / "suites"
SOURCES = [source for path in find([SUITES]) for source in load(path)]


def representatives(of_cells: bool) -> Iterator[Case]:
    """Each plan that is by itself, and of each matrix one case for each thing that it expects.

    `make suites` runs them all.
    """
    seen = set()
    for source in SOURCES:
        if (source.plan.target == CELLS) == of_cells:
            for case in cases(source):
                kind = (case.plan.name, case.bug, case.plan.bugs.get(case.bug))
                if kind not in seen:
                    seen.add(kind)
                    yield case


CASES, CASES_OF_CELLS = (list(representatives(of_cells)) for of_cells in (False, True))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    path = tmp_path_factory.mktemp("reference") / "journal.sqlite"
    with Journal(path) as journal, Session("reference", journal) as session:
        yield session


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_verdict_is_the_expected_one(reference: Session, case: Case) -> None:
    outcome = reference.run(case)
    assert outcome.meets(reference.expected(case)), outcome.reason
    assert case.bug or outcome.verdict is Verdict.PASS


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    path = tmp_path_factory.mktemp("cells") / "journal.sqlite"
    with Journal(path) as journal, Session(CELLS, journal) as session:
        yield session


@pytest.mark.parametrize("case", CASES_OF_CELLS, ids=[case.name for case in CASES_OF_CELLS])
def test_the_verdict_is_the_expected_one_between_cells(two_cells: Session, case: Case) -> None:
    outcome = two_cells.run(case)
    assert outcome.meets(two_cells.expected(case)), outcome.reason
    assert case.bug or outcome.verdict is Verdict.PASS


def test_the_logs_are_parted_at_the_moment_of_the_crash(reference: Session) -> None:
    reference.run(next(case for case in CASES if case.name == "kill-compute-mid-reboot"))
    same = [t for t in reference.journal.trials() if t.plan == "kill-compute-mid-reboot"]
    trial = next(t for t in same if not t.bug)  # the first of its kind is kept whole
    (log,) = [log for log in reference.journal.logs(trial.id, 1) if log.service == "compute-host1"]
    assert "REBOOT_HARD" not in log.before_fault
    assert "REBOOT_HARD" in log.after_fault


def test_every_invariant_of_the_library_is_violated_by_some_bug_switch() -> None:
    library = {*vocabulary("reference").invariants, RECOVERABLE}
    violated = {
        name for case in CASES + CASES_OF_CELLS for name in case.plan.bugs.get(case.bug, ())
    }
    assert library <= violated


def test_every_bug_switch_is_caught_by_some_plan() -> None:
    assert {case.bug for case in CASES + CASES_OF_CELLS} - {""} == set(
        vocabulary("reference").target.bugs
    )


def test_every_case_of_a_matrix_has_the_words_of_its_target() -> None:
    for source in SOURCES:
        for case in cases(source):
            case.bind(source.words("reference" if source.plan.target != CELLS else CELLS))


def test_every_plan_has_a_name_of_its_own() -> None:
    names = [source.plan.title_of_case for source in SOURCES]
    assert sorted(names) == sorted(set(names))


def test_few_schedules_of_the_headline_race_stand_for_all_of_them(reference: Session) -> None:
    outcome = reference.run(next(case for case in CASES if case.name == "race-two-deletes"))
    assert outcome.rounds < 30
    assert "which stand for 212:" in outcome.account
