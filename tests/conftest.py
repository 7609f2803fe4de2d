"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engine.case import Case
from chaos.engine.session import Session
from chaos.journal import Journal
from chaos.plan import Plan, Schedules
from chaos.verdict import Outcome

LEDGER = "tests.ledger.ledger:target"

pytest_plugins = ["pytester"]


class Ledger:
    """A running ledger, and what its journal knows."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, plan: Plan, bug: str = "", schedule: str = "") -> Outcome:
        """Run a plan once."""
        stated = Schedules.model_validate([schedule]) if schedule else None
        return self.session.run(Case(plan, bug, schedules=stated))

    @property
    def journal(self) -> Journal:
        """Everything that was run so far."""
        return self.session.journal


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One warm ledger for all tests of this worker; every plan leaves it pristine."""
    path = tmp_path_factory.mktemp("ledger") / "journal.sqlite"
    with Journal(path) as journal, Session(LEDGER, journal) as session:
        yield Ledger(session)


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent
