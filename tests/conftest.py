"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engine.case import Case
from chaos.engine.session import Session
from chaos.journal import Journal
from chaos.plan import Plan, Schedules
from chaos.verdict import Outcome, Verdict

LEDGER = "tests.ledger.ledger:target"
TINY = "tests.tiny.tiny:target"

pytest_plugins = ["pytester"]


class Running:
    """A running target, and what was run on it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.session.on_round = lambda number, outcome: self.schedules.append(str(outcome.schedule))
        self.schedules: list[str] = []
        """Those of the last plan, in the order in which they were executed."""
        self.outcome = Outcome(Verdict.ERROR, "nothing was run")
        """Of the last plan."""

    def run(self, plan: Plan, bug: str = "", schedule: str = "") -> Outcome:
        """Run a plan once."""
        stated = Schedules.model_validate([schedule]) if schedule else None
        return self.run_case(Case(plan, bug, schedules=stated))

    def run_case(self, case: Case) -> Outcome:
        """Run a case once."""
        self.schedules.clear()
        self.outcome = self.session.run(case)
        return self.outcome

    @property
    def journal(self) -> Journal:
        """Everything that was run so far."""
        return self.session.journal


def running(target: str, path: Path) -> Iterator[Running]:
    """Start a target, and stop it when the tests are over."""
    with Journal(path) as journal, Session(target, journal) as session:
        yield Running(session)


Ledger = Running


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One warm ledger for all tests of this worker; every plan leaves it pristine."""
    yield from running(LEDGER, tmp_path_factory.mktemp("ledger") / "journal.sqlite")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One warm tiny target for all tests of this worker; every plan leaves it pristine."""
    yield from running(TINY, tmp_path_factory.mktemp("tiny") / "journal.sqlite")


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent
