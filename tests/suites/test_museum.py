"""Every bug switch of the reference has a plan, and others bring their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.language.loader import find, load
from targets.reference import bugs
from tests.plugin.test_cli import ROOT, chaos

DOCUMENT = (ROOT / "docs/museum.md").read_text()


def test_every_switch_has_a_plan_that_names_what_sees_it() -> None:
    plans = [source.plan for file in find([ROOT / "suites"]) for source in load(file)]
    caught = {bug for plan in plans for bug in plan.bugs}
    assert caught == bugs.available().keys()


def test_the_published_matrix_has_no_switch_that_there_is_not() -> None:
    published = set(re.findall(r"^\| (lp\w+) \| `", DOCUMENT, re.M))
    assert published
    assert published <= bugs.available().keys()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's example of a switch of one's own."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    folder = tmp_path / "my-bugs"
    folder.mkdir()
    (folder / "keeps_ports.py").write_text(code)
    monkeypatch.setenv("CHAOS_BUGS_PATH", "my-bugs")
    return folder


def test_a_switch_from_outside_is_caught_by_a_plan_that_names_it(
    outside: Path, tmp_path: Path
) -> None:
    (plan,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)
    (tmp_path / "my.plan.yaml").write_text(plan)
    assert outside.is_dir()
    done = chaos("run", "my.plan.yaml", "--target", "reference", cwd=tmp_path)
    assert "FAIL, as it must" in done.stdout


@pytest.mark.parametrize(
    ("named", "told"),
    [("nowhere", "which is no folder"), (".", "two bug switches are called `lp1072751`")],
)
def test_a_folder_of_switches_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, told: str
) -> None:
    (tmp_path / "lp1072751.py").write_text('"""Once more."""\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAOS_BUGS_PATH", named)
    with pytest.raises(LookupError, match=told):
        bugs.available()
