"""Bringing back what is down: who does not come back is a finding, also under faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaos.history import Kind
from chaos.operation import Operation, Scope
from chaos.plan import Step, inject, kill, reach, restart, start, step, together
from chaos.target import ServiceState
from chaos.verdict import Verdict
from tests.conftest import Running
from tests.tiny.plans import MOVE, SEND, plan

DIES = inject("crash", at="before carry.put")
DIES_AGAIN = inject("crash", at="before recover.finish", phase="recover")
ARRIVED = step("parcel.expect", parcel="p", place="b")
DELAY = inject("delay", at="before desk.move", seconds=0.001)


@pytest.fixture
def broken(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``carrier.break``: from then on the carrier ends when it is started; ``carrier.mend``."""
    place = tiny.session.run_dir / "carrier.socket"

    def break_(scope: Scope) -> None:
        place.unlink(missing_ok=True)
        place.mkdir()

    def mend(scope: Scope) -> None:
        if place.is_dir():
            place.rmdir()

    for word, function in (("carrier.break", break_), ("carrier.mend", mend)):
        operations = tiny.session.words.target.operations
        monkeypatch.setitem(operations, word, Operation(word, function))
    yield
    mend(Scope(None))


BREAK, MEND = step("carrier.break"), step("carrier.mend")


# ---------------------------------------------------------------------- who comes back at once


@pytest.mark.parametrize("again", [start, restart], ids=["start", "restart"])
def test_a_service_that_crashed_can_be_started_again_by_the_workload(
    tiny: Running, again: Callable[[str], Step]
) -> None:
    """It is dead when the workload goes on, and that it is back does not mean that it never was."""
    arrives = step("parcel.wait", parcel="p", place="b")
    during = (SEND, reach("before carry.put"), again("carrier"), arrives)
    for _ in range(5):
        outcome = tiny.run(plan(DIES, during=during))
        assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_start_that_a_fault_cuts_off_is_no_finding_in_the_workload_either(tiny: Running) -> None:
    """The carrier dies again as it comes up; the workload goes on, and starts it once more."""
    again = inject("crash", at="before recover.finish")
    during = (
        SEND, reach("before carry.put"), start("carrier"),
        reach("before recover.finish"), start("carrier"),
        step("parcel.make", name="q", place="a"),
    )  # fmt: skip
    outcome = tiny.run(plan(DIES, again, name="dies-as-it-starts", during=during))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    assert [e.data["arguments"] for e in events if e.kind is Kind.INVOKE][-1]["name"] == "q"


# ---------------------------------------------------------------------- who does not come back


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "parts",
    [
        {"during": (SEND, BREAK), "inject": (DIES,)},
        {"during": (MOVE, BREAK), "inject": (inject("kill", service="carrier"),)},
        {"during": (BREAK, MOVE, restart("carrier")), "inject": (DELAY,)},
        {"during": (MOVE, BREAK), "inject": (DELAY,), "then": (kill("carrier"), start("carrier"))},
        {
            "during": (MOVE, BREAK),
            "inject": (DELAY, inject("kill", service="carrier", phase="then")),
            "then": (ARRIVED,),
        },
        {"during": (MOVE, BREAK), "inject": (DELAY,), "recover": (restart("carrier"),)},
        {
            "during": (BREAK, MOVE),
            "inject": (inject("restart", at="before desk.move", service="carrier"),),
        },
    ],
    ids=["crash", "kill", "step", "then", "fault in then", "recover", "fault"],
)
def test_a_service_that_does_not_come_back_is_a_finding(
    tiny: Running, parts: dict[str, Any]
) -> None:
    outcome = tiny.run(plan(settle=0.5, **parts))
    assert outcome.verdict is Verdict.FAIL, outcome
    assert "services-return" in outcome.violated
    assert "carrier ended with exit code 1" in outcome.reason
    assert "Its log ends with" in outcome.reason
    assert "/logs/" not in outcome.reason  # it is gone when this is read


@pytest.mark.usefixtures("broken")
def test_it_is_judged_before_it_is_undone_and_the_failed_undo_is_told_beside_it(
    tiny: Running,
) -> None:
    outcome = tiny.run(plan(DIES, during=(SEND, BREAK), settle=0.5))
    assert outcome.verdict is Verdict.FAIL
    assert "Not everything could be undone: NotReady: carrier" in outcome.note
    assert "undone" not in outcome.reason


@pytest.mark.usefixtures("broken")
def test_a_service_that_is_mended_later_did_not_come_back_when_it_should(tiny: Running) -> None:
    outcome = tiny.run(plan(DIES, during=(SEND, BREAK), recover=(start("carrier"), MEND)))
    assert "services-return" in outcome.violated


@pytest.mark.usefixtures("broken")
def test_everything_else_is_brought_back_all_the_same(tiny: Running) -> None:
    dies_too = inject("kill", service="desk")
    seen = []

    def look(scope: Scope) -> None:
        seen.append(tiny.session.words.target.services["desk"].state)

    tiny.session.words.target.operations["look.desk"] = Operation("look.desk", look)
    try:
        outcome = tiny.run(
            plan(
                inject("kill", service="carrier"), dies_too, during=(BREAK,),
                recover=(start("*"), step("look.desk")),
            )
        )  # fmt: skip
    finally:
        del tiny.session.words.target.operations["look.desk"]
    assert "services-return" in outcome.violated
    assert seen == [ServiceState.READY]


def test_a_service_may_take_longer_than_the_plan_gives_itself_to_settle(tiny: Running) -> None:
    slowly = inject("delay", at="before carrier.recover", seconds=0.8, phase="recover")
    outcome = tiny.run(plan(inject("kill", service="carrier"), slowly, settle=0.3))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_service_may_take_longer_to_be_restarted_than_the_plan_gives_itself_to_settle(
    tiny: Running,
) -> None:
    slowly = inject("delay", at="before carrier.recover", seconds=0.8)
    restarted = inject("restart", at="before desk.move", service="carrier")
    outcome = tiny.run(plan(restarted, slowly, settle=0.3))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


# ---------------------------------------------------------------------- faults in a recovery


@pytest.mark.parametrize("recover", [None, (start("carrier"),), (restart("*"),)], ids=str)
def test_who_dies_in_its_recovery_is_recovered_again(tiny: Running, recover: object) -> None:
    outcome = tiny.run(plan(DIES, DIES_AGAIN, during=(SEND,), recover=recover, then=(ARRIVED,)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_defect_of_the_second_recovery_fails(tiny: Running) -> None:
    outcome = tiny.run(plan(DIES, DIES_AGAIN, during=(SEND,)), bug="once-only-recovery")
    assert outcome.verdict is Verdict.FAIL
    assert "parcels-somewhere" in outcome.violated


def test_that_defect_is_not_seen_by_a_single_recovery(tiny: Running) -> None:
    outcome = tiny.run(plan(DIES, during=(SEND,)), bug="once-only-recovery")
    assert outcome.verdict is Verdict.PASS


def test_a_fault_that_never_strikes_in_the_recovery_is_vacuous(tiny: Running) -> None:
    outcome = tiny.run(plan(inject("kill", service="carrier"), DIES_AGAIN))
    assert outcome.verdict is Verdict.VACUOUS
    assert "`before recover.finish` was never reached" in outcome.reason


def test_who_ends_of_an_error_in_its_recovery_is_recovered_again(tiny: Running) -> None:
    error = inject("error", at="before recover.finish", phase="recover")
    outcome = tiny.run(plan(DIES, error, during=(SEND,), then=(ARRIVED,)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_service_that_is_killed_from_outside_while_it_recovers(tiny: Running) -> None:
    killed = inject("kill", at="before recover.take", service="carrier", phase="recover")
    for _ in range(10):
        outcome = tiny.run(plan(DIES, killed, during=(SEND,), then=(ARRIVED,)))
        assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_service_that_is_frozen_while_another_recovers(tiny: Running) -> None:
    frozen = inject("freeze", at="before recover.take", service="desk", phase="recover")
    outcome = tiny.run(plan(DIES, frozen, during=(SEND,), then=(ARRIVED,)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


@pytest.mark.usefixtures("broken")
def test_a_fault_elsewhere_does_not_excuse_who_did_not_come_back(tiny: Running) -> None:
    """It was struck before, and does come back the second time: but nobody struck it meanwhile."""
    elsewhere = inject("delay", at="before desk.make", seconds=0.001, phase="recover")
    again = step("parcel.make", name="q", place="a")
    outcome = tiny.run(
        plan(DIES, elsewhere, during=(SEND, BREAK), recover=(start("carrier"), MEND, again))
    )
    assert "services-return" in outcome.violated
    assert "carrier ended with exit code 1" in outcome.reason


# ---------------------------------------------------------------------- steps of a recovery


def test_the_steps_of_a_recovery_may_be_actors(tiny: Running) -> None:
    outcome = tiny.run(
        plan(
            inject("kill", service="*"), during=(kill("carrier"),),
            recover=(together(start("desk"), start("carrier")),), then=(MOVE, ARRIVED),
        )
    )  # fmt: skip
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_a_step_of_a_recovery_waits_for_its_fault(tiny: Running) -> None:
    slowly = inject("delay", at="before carry.take", seconds=0.5, phase="recover")
    seen = []

    def look(scope: Scope) -> None:
        stage = tiny.session._engine._stage
        assert stage is not None
        seen.append([hit.action for hit in stage.reached("carry.take")])

    operations = tiny.session.words.target.operations
    operations["look"] = Operation("look", look)
    try:
        outcome = tiny.run(
            plan(
                inject("kill", service="carrier"), slowly,
                recover=(start("*"), SEND, reach("before carry.take"), step("look")),
            )
        )  # fmt: skip
    finally:
        del operations["look"]
    assert (outcome.verdict, outcome.reason, seen) == (Verdict.PASS, "", [["record"]])


def test_a_failed_step_of_a_recovery_fails(tiny: Running) -> None:
    wrong = step("parcel.expect", parcel="p", place="nowhere")
    outcome = tiny.run(plan(inject("kill", service="carrier"), recover=(start("*"), wrong)))
    assert outcome.violated == ("steps-succeed",)
    assert "recover parcel.expect(" in outcome.reason


def test_an_operation_of_a_recovery_must_get_its_answer_where_nothing_strikes(
    tiny: Running,
) -> None:
    frozen = inject("freeze", at="after desk.move", service="desk")
    outcome = tiny.run(plan(frozen, recover=(MOVE, start("*")), settle=0.5))
    assert outcome.violated == ("steps-succeed",)
    assert "(recover parcel.move(parcel=p, to=b)): the answer was lost" in outcome.reason


def test_an_operation_of_a_recovery_may_be_cut_off_by_a_fault_of_it(tiny: Running) -> None:
    cut = inject("crash", at="before lend.inside", phase="recover")
    lend = step("parcel.lend", parcel="p", to="anna")
    outcome = tiny.run(plan(inject("kill", service="carrier"), cut, recover=(start("*"), lend)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_an_assertion_of_a_recovery_may_not_be_cut_off(tiny: Running) -> None:
    frozen = inject("freeze", at="after desk.move", service="desk", phase="recover")
    outcome = tiny.run(
        plan(
            inject("kill", service="carrier"), frozen,
            recover=(start("*"), MOVE, ARRIVED), settle=0.5,
        )
    )  # fmt: skip
    assert outcome.violated == ("steps-succeed",)
    assert "(recover parcel.expect(parcel=p, place=b)): the answer was lost" in outcome.reason


def test_a_recovery_is_gone_through_once_where_nobody_was_taken_down(tiny: Running) -> None:
    slowly = inject("delay", at="before desk.make", seconds=0.001, phase="recover")
    once = step("parcel.make", name="q", place="a")
    outcome = tiny.run(plan(inject("kill", service="carrier"), slowly, recover=(start("*"), once)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
