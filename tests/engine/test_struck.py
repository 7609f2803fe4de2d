"""Who is struck meanwhile: dead before anything else is done, stopped, or on his way up."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaos.engine.judgement import unexplained_deaths
from chaos.history import History, Kind
from chaos.plan import Schedules, Step, inject, restart, start, step, together
from chaos.verdict import Verdict
from tests.conftest import Running
from tests.tiny.plans import MOVE, SEND, plan

FAR = step("parcel.move", parcel="p", to="c")
CRASH = inject("crash", at="before desk.move")


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_step_after_a_crash_meets_a_dead_service_each_time(tiny: Running, side: str) -> None:
    dies = inject("crash", at=f"{side} desk.move")
    for _ in range(10):
        assert tiny.run(plan(dies, during=(MOVE, FAR))).verdict is Verdict.PASS


def test_a_service_is_started_again_that_is_dying_when_it_is_to_be(tiny: Running) -> None:
    for _ in range(10):
        assert tiny.run(plan(CRASH, during=(MOVE, start("desk"), FAR))).verdict is Verdict.PASS


def test_a_workload_that_meets_only_a_service_that_was_killed_proves_nothing(
    tiny: Running,
) -> None:
    nothing = inject("delay", at="before carrier.tick", seconds=0.001)
    outcome = tiny.run(plan(inject("kill", service="desk"), nothing, during=(MOVE,)))
    assert outcome.verdict is Verdict.VACUOUS
    assert "(parcel.move) was cut off" in outcome.reason


def test_a_worker_that_was_struck_does_not_explain_that_its_service_ends_by_itself() -> None:
    history = History()
    history.add(Kind.HIT, "web", "work", action="crash", worker=17)
    history.add(Kind.SERVICE, "web", "exited", code=3)
    assert list(unexplained_deaths(history)) == ["web ended by itself (3); see its log"]

    history.add(Kind.HIT, "web", "work", action="crash")
    history.add(Kind.SERVICE, "web", "exited", signal=9)
    assert len(list(unexplained_deaths(history))) == 1


# ---------------------------------------------------------------------- stopped


def test_a_fault_strikes_in_the_recovery_of_a_service_that_stands_still(tiny: Running) -> None:
    frozen = inject("freeze", at="before carry.put", service="carrier")
    again = inject("crash", at="before recover.take", phase="recover")
    outcome = tiny.run(plan(frozen, again, during=(SEND,), recover=(restart("carrier"),)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_race_ends_well_beside_a_service_that_stands_still(tiny: Running) -> None:
    racing = together(
        step("parcel.move", parcel="p", to="b", label="x"),
        step("parcel.move", parcel="p", to="c", label="y"),
    )
    race = inject("race", actors=["x", "y"], points=["before usage.take", "before usage.give"])
    frozen = inject("freeze", service="carrier")
    outcome = tiny.run(plan(frozen, race, during=(racing,), schedules=Schedules(first=2)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_pause_in_a_service_that_stands_still_never_strikes(tiny: Running) -> None:
    frozen = inject("freeze", at="before send.store", service="carrier")
    never = inject("pause", at="before carry.put", until="parcel.move")
    outcome = tiny.run(plan(frozen, never, during=(SEND, FAR), settle=1.0))
    assert outcome.verdict is Verdict.VACUOUS, outcome.reason


# ---------------------------------------------------------------------- on its way up, and again


def test_a_restart_whose_service_is_struck_on_its_way_up_is_no_failed_recovery(
    tiny: Running,
) -> None:
    outcome = tiny.run(
        plan(
            inject("restart", at="before carry.put", service="carrier"),
            inject("crash", at="before carrier.recover"),
            during=(SEND,),
        )
    )
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_what_is_recovered_once_more_is_services_and_no_operation_of_a_client(
    tiny: Running,
) -> None:
    outcome = tiny.run(
        plan(
            inject("crash", at="before carry.put"),
            inject("crash", at="before recover.finish", phase="recover"),
            during=(SEND,),
            recover=(start("*"), step("parcel.make", name="q", place="a")),
        )
    )
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize("label", ["during", "recover", "then"])
def test_a_step_cannot_be_called_like_a_part_of_the_plan(label: str) -> None:
    with pytest.raises(ValidationError, match=f"a step cannot be called `{label}`"):
        plan(CRASH, during=(Step(operation="parcel.move", label=label),))
