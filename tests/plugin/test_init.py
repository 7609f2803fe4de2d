"""What ``chaos init`` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from chaos.journal import Journal
from tests.plugin.test_cli import chaos

FILES = {"system.py", "service.py", "plans/first.plan.yaml", "plans/plan.schema.json"}


def files(folder: Path) -> set[str]:
    """Every file below a folder, but what Python makes."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)) for path in found}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder that was just written."""
    chaos("init", "mine", cwd=tmp_path)
    return tmp_path / "mine"


def test_what_is_written_runs_by_the_command_that_is_told(tmp_path: Path) -> None:
    told = chaos("init", "mine", cwd=tmp_path).stdout
    command = told.splitlines()[-1].split()
    assert command[:2] == ["chaos", "run"]
    assert files(tmp_path / "mine") == FILES

    chaos(*command[1:], cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/journal.sqlite", readonly=True) as journal:
        assert [(t.bug, t.verdict, t.violated) for t in journal.trials()] == [
            ("", "PASS", ()),
            ("no-recovery", "FAIL", ("stock-is-right", "steps-succeed")),
        ]
        assert journal.residues() == ()


def test_without_a_folder_it_is_this_one(tmp_path: Path) -> None:
    chaos("init", cwd=tmp_path)
    assert files(tmp_path) == FILES


def test_what_is_written_are_tests_of_pytest(begun: Path, project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(begun, f"--chaos-target={begun / 'system.py'}")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("taken", sorted(FILES))
def test_nothing_is_written_where_one_file_is_there(tmp_path: Path, taken: str) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / taken).write_text("mine")
    done = chaos("init", cwd=tmp_path, expect=2)
    assert taken in done.stderr
    assert files(tmp_path) == {taken}
    assert (tmp_path / taken).read_text() == "mine"


def test_the_editor_knows_the_words_of_the_system(begun: Path) -> None:
    schema = Draft202012Validator(json.loads((begun / "plans/plan.schema.json").read_text()))
    plan = YAML(typ="safe").load(begun / "plans/first.plan.yaml")
    assert [*schema.iter_errors(plan)] == []
    plan["inject"][0]["at"] = "before sale.tak"
    assert [*schema.iter_errors(plan)] != []


def test_the_plan_leads_the_editor_to_the_schema(begun: Path) -> None:
    first, *_ = (begun / "plans/first.plan.yaml").read_text().splitlines()
    assert first == "# yaml-language-server: $schema=plan.schema.json"
