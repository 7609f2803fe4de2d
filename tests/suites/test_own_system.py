"""What docs/own-system.md shows works as it stands there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engine.case import cases
from chaos.engine.session import Session
from chaos.journal import Journal
from chaos.journal.results import begin
from chaos.language.loader import load

ROOT = Path(__file__).parents[2]
LEDGER, _, BANK = (ROOT / "docs/own-system.md").read_text().partition("\n## 9. ")
FILES = dict(re.findall(r"`([\w./]+)`\n\n```(?:python|yaml)\n(.*?)```", BANK, re.DOTALL))
"""Those of the second example, by name."""
PLANS = [name for name in FILES if name.endswith(".plan.yaml")]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with begin(tmp_path / "results") as journal:
        yield journal


def run(system: Path, plan: Path, journal: Journal) -> None:
    """Run a plan with and without its bug switches: it must end as is expected."""
    with Session(str(system), journal) as session:
        for case in cases(load(plan)[0]):
            outcome = session.run(case)
            assert outcome.meets(session.expected(case)), outcome.reason
    assert session.residue == ()


def test_the_documented_target_runs_the_documented_plan(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```(python|yaml)\n(.*?)```", LEDGER, re.DOTALL)
    shown = {
        kind: "\n\n".join(text for found, text in blocks if found == kind)
        for kind in ("python", "yaml")
    }
    system, plan = tmp_path / "own_system.py", tmp_path / "crash.plan.yaml"
    # Its services are those of the ledger, in the folder that the document calls its own.
    system.write_text(
        shown["python"].replace("bank.", "tests.ledger.").replace("{target_dir}", str(ROOT))
    )
    plan.write_text(shown["yaml"])
    monkeypatch.syspath_prepend(tmp_path)
    run(system, plan, journal)


def test_a_system_of_other_peoples_servers_takes_no_more_than_120_lines() -> None:
    assert len(FILES["system.py"].splitlines()) <= 120


@pytest.mark.slow
@pytest.mark.timeout(300)  # a dozen boots of four programs
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server is installed")
@pytest.mark.parametrize("plan", PLANS)
def test_a_system_of_other_peoples_servers(plan: str, tmp_path: Path, journal: Journal) -> None:
    for name, text in FILES.items():
        path = tmp_path / "bank" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run(tmp_path / "bank/system.py", tmp_path / "bank" / plan, journal)
