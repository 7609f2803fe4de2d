"""What the README shows is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.language.loader import find, load, parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_plan_in_the_readme_is_one_of_the_suite() -> None:
    shown = parse(block("yaml"), ROOT / "README.md").plan
    plans = {s.plan.name: s.plan for path in find([ROOT / "suites"]) for s in load(path)}
    real = plans[shown.name]
    assert real == shown.model_copy(update={"scenario": real.scenario, "target": real.target})


def test_the_test_in_the_readme_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(block("python"))
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_every_file_that_the_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
