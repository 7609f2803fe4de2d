"""Plans have the same verdicts on servers that others wrote, whose death stops no service."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.engine.case import Case
from chaos.language.loader import Source, load
from chaos.verdict import Verdict
from tests.conftest import Running

SUITES = Path(__file__).parents[3] / "suites"
SERVERS_DIE = load(Path(__file__).parent / "servers-die.yaml")
REPRESENTATIVE = {
    "database-dies-at-a-commit[before database.commit service conductor]",
    "database-dies-at-a-commit[after database.commit service compute-host1]",
    "a-commit-is-ambiguous[after database.commit service api occurrence 1]",
    "a-commit-is-ambiguous[after database.commit service conductor occurrence 4]",
    "a-commit-is-ambiguous[after database.commit service compute-host1 occurrence 3]",
}
"""Those that `make test` runs; all of them are run by hand, as all of suites/ is."""


@pytest.mark.parametrize(
    ("file", "bug", "verdict"),
    [
        ("delete_while_booting/race-two-deletes.plan.yaml", "lp1914777", Verdict.FAIL),
        ("restart_recovery/kill-compute-mid-delete.plan.yaml", "", Verdict.PASS),
    ],
    ids=["a race, with its bug", "a kill"],
)
def test_a_plan_has_the_verdict_that_it_has_on_sqlite(
    on_servers: Running, file: str, bug: str, verdict: Verdict
) -> None:
    source = load(SUITES / file)[0]
    outcome = on_servers.run_case(Case(source.plan, bug, source))
    assert outcome.verdict is verdict, outcome


@pytest.mark.parametrize(
    "source",
    [source for source in SERVERS_DIE if source.plan.title_of_case in REPRESENTATIVE],
    ids=lambda source: source.plan.title_of_case,
)
def test_the_services_outlive_their_database(on_servers: Running, source: Source) -> None:
    outcome = on_servers.run_case(Case(source.plan, "", source))
    assert outcome.verdict is Verdict.PASS, outcome


def test_the_representatives_are_plans() -> None:
    assert {source.plan.title_of_case for source in SERVERS_DIE} >= REPRESENTATIVE
