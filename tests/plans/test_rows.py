"""Rows: a plan names what it shows, and only what the list beside it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import PlanError
from chaos.language.loader import load
from chaos.language.rows import family, file_for, rows_in
from tests.plans.conftest import Loaded, Told

PLAN = "plan: x\nscenario: {}\nduring: [tick]\ninject: [{{at: before build.start, do: crash}}]\n"


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text("S1.1: two at once\nS1.2: three at once\nS3.1: none\n")


@pytest.mark.parametrize(
    ("written", "rows"), [("S1.1", ("S1.1",)), ("[S1.2, S3.1]", ("S1.2", "S3.1")), ("''", ())]
)
def test_a_plan_names_one_row_or_several(
    loaded: Loaded, written: str, rows: tuple[str, ...]
) -> None:
    (source,) = loaded(PLAN.format(written))
    assert source.plan.scenario == rows


@pytest.mark.parametrize("written", ["S1.1", "[S1.2, S3.1]"])
def test_what_a_plan_prints_names_the_same_rows(loaded: Loaded, written: str) -> None:
    (source,) = loaded(PLAN.format(written))
    printed = source.plan.document()["scenario"]
    assert PLAN.format(str(printed).replace("'", "")) == PLAN.format(written)


def test_an_unknown_row_is_an_error_that_names_the_line_and_the_nearest(told: Told) -> None:
    assert told(PLAN.format("[S1.1, S1.22]")) == (
        "x.plan.yaml:2: rows.yaml has no row `S1.22`; did you mean `S1.2`?"
    )


def test_a_list_in_the_folder_above_counts(tmp_path: Path) -> None:
    folder = tmp_path / "family"
    folder.mkdir()
    (folder / "x.plan.yaml").write_text(PLAN.format("S9"))
    with pytest.raises(PlanError, match="has no row `S9`"):
        load(folder / "x.plan.yaml")


def test_without_a_list_a_scenario_is_any_text(loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").unlink()
    (source,) = loaded(PLAN.format("whatever"))
    assert source.plan.scenario == ("whatever",)


@pytest.mark.parametrize(
    ("text", "line"),
    [("- S1.1\n", 1), ("S1.1: two\n\nS1.2: [three]\n", 3), ("S1.1: two\nS1.2:\n", 2)],
)
def test_a_list_that_is_none_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "rows.yaml").write_text(text)
    with pytest.raises(PlanError, match=rf"rows\.yaml:{line}: "):
        rows_in(tmp_path / "rows.yaml")


def test_rows_keep_the_order_of_their_file(tmp_path: Path) -> None:
    file = file_for(tmp_path / "x.plan.yaml")
    assert file is not None
    assert [*rows_in(file)] == ["S1.1", "S1.2", "S3.1"]
    assert {family(row) for row in rows_in(file)} == {"s1", "s3"}
