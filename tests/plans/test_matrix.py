"""A matrix: one document, many plans."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from chaos.language.loader import parse
from chaos.language.matrix import MOST_CASES, expand
from tests.plans.conftest import Loaded, Told

PLAN = """\
plan: m
title: dies <side> <point>
matrix:
  point: [build.start, build.claim]
  side: [before, after]
during:
  - tick
inject:
  - at: <side> <point>
    do: crash
"""
TICK = "  - tick"


def test_each_combination_of_values_is_a_plan_with_a_case(loaded: Loaded) -> None:
    plans = [source.plan for source in loaded(PLAN)]
    assert [plan.case for plan in plans] == [
        "build.start, before", "build.start, after", "build.claim, before", "build.claim, after",
    ]  # fmt: skip
    assert [str(plan.inject[0].at) for plan in plans] == [
        "before build.start", "after build.start", "before build.claim", "after build.claim",
    ]  # fmt: skip
    assert plans[0].title == "dies before build.start"
    assert {plan.name for plan in plans} == {"m"}


def test_a_list_of_mappings_states_the_cases(loaded: Loaded) -> None:
    matrix = "matrix: [{point: build.start, side: before}, {side: after, point: build.claim}]\n"
    text = PLAN[: PLAN.index("matrix")] + matrix + PLAN[PLAN.index("during") :]
    assert [source.plan.case for source in loaded(text)] == [
        "build.start, before",
        "build.claim, after",
    ]


def test_all_cases_stand_on_the_line_of_their_document(tmp_path: Path, loaded: Loaded) -> None:
    assert {source.line for source in loaded("---\n" + PLAN)} == {2}


@pytest.mark.parametrize(
    "value",
    [2.5, True, None, "word", "<x>", [{"server.delete": {"server": "vm"}}], {"start": "api"}],
)
def test_a_value_that_stands_alone_keeps_its_type(value: object) -> None:
    (case,) = expand({"matrix": {"x": [value]}, "deep": [{"in": "<x>"}]})
    assert case["deep"] == [{"in": value}]


@pytest.mark.parametrize(("value", "text"), [(2, "2"), (0.5, "0.5"), (True, "true"), ("a", "a")])
def test_a_value_inside_a_text_is_written_as_yaml_writes_it(value: object, text: str) -> None:
    (case,) = expand({"matrix": {"x": [value]}, "title": "a <x>-<x>"})
    assert (case["title"], case["case"]) == (f"a {text}-{text}", text)


def test_a_case_is_a_plan_that_can_be_run_by_itself(loaded: Loaded, tmp_path: Path) -> None:
    plan = loaded(PLAN)[3].plan
    document = plan.document()
    assert "matrix" not in document
    assert parse(json.dumps(document), tmp_path).plan == plan


def test_without_a_matrix_angle_brackets_mean_nothing(loaded: Loaded) -> None:
    text = "plan: x\ntitle: a <b>\nduring: [tick]\ninject: [{at: after build.start, do: crash}]"
    assert loaded(text)[0].plan.title == "a <b>"


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("at: <side>", "at: <sid>", "9: the matrix has no `sid`; did you mean `side`?"),
        ("<point>", "build.start", "4: `<point>` stands nowhere in the plan, where a value"),
        ("[before, after]", "before", "5: `side` must be a list of values"),
        ("[before, after]", "[]", "5: `side` must be a list of values"),
        ("[before, after]", "[before, before]", "3: the matrix has two cases `build.start, be"),
        ("  side:", "  si de:", "5: `si de` cannot be written as `<name>`"),
        ("title:", "case: one\ntitle:", "2: the matrix names the cases; leave `case` out"),
        ("dies <side>", "<side>", ""),
        ("[before, after]", "[before, [after]]", "2: `<side>` is not always one word"),
        ("build.claim]", "build.clam]",
         "9: target `small` has no point `build.clam`; did you mean `build.claim`"),
        ("[before, after]", "[before, duing]", "9: `at`: `duing build.start` is no location"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_line_of_the_template(
    told: Told, loaded: Loaded, right: str, wrong: str, expected: str
) -> None:
    assert right in PLAN
    text = PLAN.replace(right, wrong)
    if expected:
        assert f"x.plan.yaml:{expected}" in told(text)
    else:
        loaded(text)


@pytest.mark.parametrize(
    "matrix", ["matrix: 5", "matrix: {}", "matrix: []", "matrix: [a]", "matrix: [{}]"]
)
def test_what_is_no_matrix_is_refused(told: Told, matrix: str) -> None:
    text = PLAN[: PLAN.index("matrix")] + matrix + "\n" + PLAN[PLAN.index("during") :]
    assert "x.plan.yaml:3: " in told(text)


def test_stated_cases_have_the_same_names(told: Told) -> None:
    matrix = "matrix:\n  - {point: build.start, side: before}\n  - {point: build.claim}\n"
    text = PLAN[: PLAN.index("matrix")] + matrix + PLAN[PLAN.index("during") :]
    assert "5: a case must be a mapping with the values of point, side" in told(text)


def test_a_mistake_in_one_case_says_which(told: Told) -> None:
    assert told(PLAN.replace("build.claim]", "build.clam]")).endswith("(case `build.clam, before`)")


@pytest.mark.parametrize(
    ("matrix", "use", "expected"),
    [
        (f"n: {[*range(101)]}\n  m: {[*range(100)]}", "<n><m>",
         f"10100 cases; at most {MOST_CASES} are allowed"),
        (f"n: [a]\n  m: [{'x' * 400_000}]", "<n>" + "<m>" * 100_000, "the cases are larger than"),
    ],
    ids=["cases", "characters"],
)  # fmt: skip
def test_a_matrix_that_is_too_large_is_refused_before_it_is_made(
    told: Told, matrix: str, use: str, expected: str
) -> None:
    text = f"plan: x\nscenario: {use}\nmatrix:\n  {matrix}\nduring: [tick]\n"
    text += "inject: [{at: after build.start, do: crash}]"
    began = time.monotonic()
    assert f"x.plan.yaml:3: {expected}" in told(text)
    assert time.monotonic() - began < 10
