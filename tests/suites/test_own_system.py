"""What docs/own-system.md shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.engine.case import cases
from chaos.engine.session import Session
from chaos.journal.results import begin
from chaos.language.loader import load

ROOT = Path(__file__).parents[2]


def test_the_documented_target_runs_the_documented_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(
        r"```(python|yaml)\n(.*?)```", (ROOT / "docs/own-system.md").read_text(), re.DOTALL
    )
    shown = {
        kind: "\n\n".join(text for found, text in blocks if found == kind)
        for kind in ("python", "yaml")
    }
    system, plan = tmp_path / "own_system.py", tmp_path / "crash.plan.yaml"
    # Its services are those of the ledger, in the folder that the document calls its own.
    system.write_text(
        shown["python"]
        .replace("bank.", "tests.ledger.")
        .replace("Path(__file__).parent)", f"{str(ROOT)!r})")
    )
    plan.write_text(shown["yaml"])
    monkeypatch.syspath_prepend(tmp_path)
    with begin(tmp_path) as journal, Session(str(system), journal) as session:
        for case in cases(load(plan)[0]):
            outcome = session.run(case)
            assert outcome.meets(session.expected(case)), outcome.reason
    assert session.residue == ()
