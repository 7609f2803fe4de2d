"""What the search leaves out on the reference, compared with every schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.engine.case import Case
from chaos.plan import Location, Plan, Schedules, inject, step, together
from chaos.point import When
from chaos.verdict import Verdict
from tests.conftest import running
from tests.engine.racing import stands_for

API = Location(when=When.BEFORE, point="instance.get", service="api").model_dump()


@pytest.mark.timeout(180)
def test_schedules_in_which_one_waits_for_the_lock_of_another_are_counted(tmp_path: Path) -> None:
    """Who is let go by a lock goes on within the other's step: what it does then counts too."""
    attach = step("volume.attach", server="vm", volume="data", wait="", allow=(404, 409))
    delete = step("server.delete", server="vm", allow=(409,))
    points = [API, "before attachment.create", "before compute.attach", "before compute.terminate"]
    plan = Plan(
        name="attach-against-delete",
        given=(step("volume.create", name="data"), step("server.create", name="vm")),
        during=(
            together(
                attach.model_copy(update={"label": "first"}),
                delete.model_copy(update={"label": "second"}),
            ),
        ),
        inject=(inject("race", actors=["first", "second"], points=points),),
    )
    for reference in running("targets.embedded.target:target", tmp_path / "journal.sqlite"):
        few = reference.run_case(Case(plan))
        every = Schedules.model_validate({"every": 200})
        all_of_them = reference.run_case(Case(plan, schedules=every))
        assert (few.verdict, all_of_them.verdict) == (Verdict.PASS, Verdict.PASS)
        assert few.rounds < all_of_them.rounds
        assert stands_for(few) == all_of_them.rounds
