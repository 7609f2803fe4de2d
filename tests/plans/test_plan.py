"""The plan model: its YAML form is its own serialized form."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaos.plan import Location, Plan, Step, inject, reach, step, together
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
            ),
            step("noop"),
        ),
        inject=(
            inject("pause", at="before a.point", until="first"),
            inject("crash", at=Location(when=When.AFTER, point="b", actor="first", occurrence=3)),
            inject("kill", service="compute-host1"),
        ),
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
