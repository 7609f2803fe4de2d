"""The plan model: its YAML form is its own serialized form."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaos.plan import (
    Location,
    Plan,
    Schedules,
    Step,
    actor,
    inject,
    kill,
    reach,
    restart,
    start,
    step,
    together,
)
from chaos.point import When

MINIMAL: dict[str, Any] = {
    "plan": "minimal",
    "during": ["anything"],
    "inject": [{"at": "before a.point", "do": "crash"}],
}


def test_a_location_is_read_from_its_short_form() -> None:
    assert Location.model_validate("after bdm.destroy") == Location(
        when=When.AFTER, point="bdm.destroy"
    )


def test_a_location_with_filters_is_read_from_a_mapping() -> None:
    read = Location.model_validate({"before": "a.b", "service": "compute-*", "occurrence": 2})
    assert read == Location(when=When.BEFORE, point="a.b", service="compute-*", occurrence=2)


@pytest.mark.parametrize("wrong", ["a.b", "during a.b", "before", {"service": "x"}])
def test_a_location_without_a_side_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="before"):
        Location.model_validate(wrong)


def test_a_step_with_two_operations_is_refused() -> None:
    with pytest.raises(ValidationError, match="one operation"):
        Step.model_validate({"server.delete": {}, "server.create": {}})


def test_two_steps_with_one_label_are_refused() -> None:
    both = [{"a": {}, "as": "first"}, {"b": {}, "as": "first"}]
    with pytest.raises(ValidationError, match="two steps are called `first`"):
        Plan.model_validate({**MINIMAL, "during": both})


@pytest.mark.parametrize("section", ["given", "during", "recover", "then"])
def test_a_label_is_unique_in_the_whole_plan_and_inside_actors(section: str) -> None:
    inner = {"together": [{"steps": [{"a": {}, "as": "one"}]}, "b"]}
    steps: dict[str, list[Any]] = {"during": ["c"], "then": [inner]}
    steps[section] = [*steps.get(section, ()), {"d": {}, "as": "one"}]
    with pytest.raises(ValidationError, match="two steps are called `one`"):
        Plan.model_validate({**MINIMAL, **steps})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("settle", True), ("repeat", True), ("repeat", "2"), ("schedules", {"pct": True}),
        ("inject", [{"do": "kill", "within": True}]), ("inject", [{"do": "kill", "maybe": 1}]),
        ("inject", [{"at": {"before": "a", "occurrence": True}, "do": "crash"}]),
        ("during", [{"a": {}, "allow": [True]}]),
    ],
)  # fmt: skip
def test_a_number_is_no_truth_and_a_truth_no_number(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match="should be a valid"):
        Plan.model_validate({**MINIMAL, field: value})


def test_a_location_has_one_point() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Location.model_validate({"before": "a.b", "point": "c.d"})


def test_a_plan_survives_being_written_and_read() -> None:
    plan = Plan(
        name="whole",
        title="everything at once",
        given=(step("server.create", name="vm"),),
        during=(
            reach("before a.point"),
            together(
                step("server.delete", server="vm", label="first"),
                step("server.delete", server="vm", label="second", allow=(404, 409)),
                actor("third", reach("before a.point"), kill("api"), step("noop", label="last")),
            ),
            step("noop"),
        ),
        recover=(start("api"), restart("compute-*"), reach("after c")),
        then=(together(step("noop"), start("api")),),
        inject=(
            inject("pause", at="before a.point", until="first"),
            inject("crash", at=Location(when=When.AFTER, point="b", actor="first", occurrence=3)),
            inject("kill", service="compute-host1"),
            inject("crash", at="after c", phase="recover", within=2.5, maybe=True),
        ),
        schedules=Schedules(pct=3, seed=7),
        repeat=3,
        needs=("links",),
        case="a, b",
        settle=4,
        bugs={"lp1": ("recoverable",)},
    )
    assert Plan.model_validate(plan.document()) == plan


def test_python_and_yaml_make_the_same_plan() -> None:
    written = {
        "plan": "same",
        "during": [{"transfer": {"amount": 3}, "as": "first"}],
        "inject": [{"at": "before a.b", "do": {"delay": {"seconds": 0.5}}}],
    }
    built = Plan(
        name="same",
        during=(step("transfer", amount=3, label="first"),),
        inject=(inject("delay", at="before a.b", seconds=0.5),),
    )
    assert Plan.model_validate(written) == built
