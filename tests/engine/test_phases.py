"""The parts of a plan: what may strike in which, in how many rounds, and what they know."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from chaos.engine.stage import Stage
from chaos.errors import WorldMoved
from chaos.history import Kind
from chaos.invariant import Checked, Evidence, Invariant
from chaos.language.bind import UnboundPlan
from chaos.operation import Operation, Scope
from chaos.plan import Location, Plan, actor, inject, kill, reach, restart, start, step, together
from chaos.point import When
from chaos.verdict import Outcome, Verdict
from chaos.world import World
from tests.conftest import Running
from tests.tiny.plans import MOVE, SEND, plan

ARRIVED = step("parcel.wait", parcel="p", place="b")
LATE = inject("delay", at="before desk.move", seconds=0.001)
BACK = step("parcel.move", parcel="p", to="a")


def passed(outcome: Outcome) -> bool:
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    return True


# ---------------------------------------------------------------------- then


def test_a_fault_may_strike_in_then(tiny: Running) -> None:
    dies = inject("crash", at="before carry.put", phase="then")
    assert passed(tiny.run(plan(LATE, dies, then=(SEND,))))


def test_a_fault_in_then_is_not_put_in_place_before(tiny: Running) -> None:
    dies = inject("crash", at="before desk.move", phase="then")
    outcome = tiny.run(plan(LATE, dies, then=(SEND,)))
    assert outcome.verdict is Verdict.VACUOUS


def test_a_defect_that_only_a_fault_in_then_shows_fails(tiny: Running) -> None:
    dies = inject("crash", at="before carry.put", phase="then")
    outcome = tiny.run(plan(LATE, dies, then=(SEND,)), bug="lost-send")
    assert outcome.verdict is Verdict.FAIL
    assert "parcels-somewhere" in outcome.violated


def test_an_operation_of_then_that_its_fault_cuts_off_fails(tiny: Running) -> None:
    frozen = inject("freeze", at="before desk.move", service="desk", phase="then")
    outcome = tiny.run(plan(LATE, frozen, then=(BACK,), settle=0.5))
    assert outcome.violated == ("steps-succeed",)
    assert "(then parcel.move(parcel=p, to=a)): the answer was lost" in outcome.reason


def test_one_plan_may_strike_in_every_part(tiny: Running) -> None:
    during = inject("crash", at="before carry.put")
    recover = inject("crash", at="before recover.finish", phase="recover")
    then = inject("kill", at="after carry.take", service="carrier", phase="then")
    outcome = tiny.run(
        plan(
            during, recover, then, during=(SEND,),
            then=(step("parcel.send", parcel="p", to="c"),),
        )
    )  # fmt: skip
    assert passed(outcome)


# ---------------------------------------------------------------------- at once


def test_what_strikes_at_once_comes_after_what_waits_at_a_point(tiny: Running) -> None:
    """A frozen service could not be armed any more."""
    frozen = inject("freeze", service="desk")
    everywhere = inject("delay", at="before usage.give", seconds=0.001)
    began = time.monotonic()
    outcome = tiny.run(
        plan(
            inject("kill", service="carrier"), frozen, everywhere,
            during=(start("carrier"), MOVE), settle=0.3,
        )
    )  # fmt: skip
    assert outcome.verdict is Verdict.VACUOUS  # and no ERROR of a service that does not answer
    assert time.monotonic() - began < 5


# ---------------------------------------------------------------------- timers


def test_a_point_of_a_timer_is_waited_for(tiny: Running) -> None:
    for _ in range(5):
        assert passed(tiny.run(plan(inject("crash", at="before carrier.tick"))))


def test_a_timer_is_waited_for_as_often_as_it_must_come_round(tiny: Running) -> None:
    third = Location(when=When.BEFORE, point="carrier.tick", occurrence=4)
    assert passed(tiny.run(plan(inject("crash", at=third))))
    thrice = inject("delay", at="before carrier.tick", seconds=0.001, times=4)
    assert passed(tiny.run(plan(thrice)))


def test_a_timer_that_comes_late_is_waited_for(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it comes round twenty times as often as it does on this machine."""
    target = tiny.session.words.target
    hasty = {**target.points}
    known = hasty["carrier.tick"]
    hasty["carrier.tick"] = type(known)(known.function, known.services, known.summary, 0.01)
    monkeypatch.setattr(target, "points", hasty)
    for _ in range(5):
        assert passed(tiny.run(plan(inject("crash", at="before carrier.tick"))))


def test_a_timer_that_serves_nobody_strikes_no_actor(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="carrier.tick", actor="mover")
    mover = MOVE.model_copy(update={"label": "mover"})
    began = time.monotonic()
    outcome = tiny.run(plan(inject("crash", at=at), during=(mover,)))
    assert outcome.verdict is Verdict.VACUOUS
    assert time.monotonic() - began < 4


def test_the_timer_of_a_dead_service_is_given_up(tiny: Running) -> None:
    never = inject("delay", at="before carrier.tick", seconds=0.001)
    outcome = tiny.run(plan(inject("kill", service="carrier"), never, settle=0.6))
    assert outcome.verdict is Verdict.VACUOUS


def test_a_point_may_be_waited_for_though_nothing_is_under_way(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target does not say that a timer drives it; the plan does."""
    target = tiny.session.words.target
    quiet = {**target.points}
    known = quiet["carrier.tick"]
    quiet["carrier.tick"] = type(known)(known.function, known.services, known.summary)
    monkeypatch.setattr(target, "points", quiet)
    assert passed(tiny.run(plan(inject("crash", at="before carrier.tick", within=3.0))))


# ---------------------------------------------------------------------- maybe


def test_a_fault_that_may_strike_does_and_does_not(tiny: Running) -> None:
    assert passed(
        tiny.run(plan(inject("crash", at="before carry.put", maybe=True), during=(SEND,)))
    )
    assert tiny.schedules == ["strike", "spare"]


def test_every_combination_of_two_faults_that_may_strike_is_run(tiny: Running) -> None:
    first = inject("crash", at="before carry.put", maybe=True)
    second = inject("delay", at="before desk.move", seconds=0.001, phase="then", maybe=True)
    assert passed(tiny.run(plan(first, second, during=(SEND,), then=(BACK,))))
    assert sorted(tiny.schedules) == [
        "spare spare", "spare strike", "strike spare", "strike strike",
    ]  # fmt: skip


def test_a_fault_that_may_strike_and_never_would_is_vacuous(tiny: Running) -> None:
    outcome = tiny.run(plan(inject("crash", at="before carry.put", maybe=True)))
    assert outcome.verdict is Verdict.VACUOUS
    assert str(outcome.schedule) == "strike"


def test_a_schedule_that_spares_every_fault_is_vacuous(tiny: Running) -> None:
    maybe = inject("delay", at="before desk.move", seconds=0.001, maybe=True)
    found = set()
    for seed in range(8):
        outcome = tiny.run(plan(maybe, schedules={"random": 1, "seed": seed}))
        found.add((*tiny.schedules, outcome.verdict))
        told = "the schedule spared every fault" in outcome.reason
        assert told == (outcome.verdict is Verdict.VACUOUS)
    assert found == {("strike", Verdict.PASS), ("spare", Verdict.VACUOUS)}


def test_a_schedule_that_is_stated_and_spares_every_fault_proves_nothing(tiny: Running) -> None:
    maybe = inject("delay", at="before desk.move", seconds=0.001, maybe=True)
    assert tiny.run(plan(maybe), schedule="spare").verdict is Verdict.VACUOUS
    assert passed(tiny.run(plan(maybe), schedule="strike"))


# ---------------------------------------------------------------------- rounds


def test_a_later_round_knows_what_was_given_as_the_first_one_did(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`given` is not performed again; its operations are not confused with those that follow."""
    seen: list[list[tuple[str, str]]] = []

    def look(evidence: Evidence) -> list[str]:
        seen.append([(done.operation, str(done.outcome)) for done in evidence.history.operations])
        return []

    known = tiny.session.words.invariants
    monkeypatch.setitem(known, "look", Invariant("look", Checked.SETTLED, look))
    refused = step("parcel.make", name="p2", place="a", allow=(409,))
    again = step("parcel.drop", parcel="p", allow=(404,))
    nobody = step("parcel.move", parcel="p", to="b", allow=(404,))
    both = plan(
        inject("crash", at="before carrier.tick", maybe=True),
        given=(step("parcel.make", name="p", place="a"), refused),
        during=(again, nobody),
    )
    assert passed(tiny.run(both))
    first, second = seen[1], seen[-1]
    assert first == second
    assert first[-2:] == [("parcel.drop", "ok"), ("parcel.move", "fail")]


def test_a_plan_may_be_repeated(tiny: Running) -> None:
    repeated = plan(inject("crash", at="before carry.put", maybe=True), during=(SEND,), repeat=3)
    assert passed(tiny.run(repeated))
    assert tiny.schedules == ["strike"] * 3 + ["spare"] * 3


# ---------------------------------------------------------------------- actors


def test_an_actor_is_the_same_in_each_of_its_steps(tiny: Running) -> None:
    second = Location(when=When.BEFORE, point="desk.move", actor="mover", occurrence=2)
    mover = actor("mover", MOVE.model_copy(update={"label": "there"}), BACK)
    other = step("parcel.make", name="q", place="a", label="other")
    assert passed(
        tiny.run(plan(inject("delay", at=second, seconds=0.001), during=(together(mover, other),)))
    )


def test_together_has_a_deadline(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    over = Event()

    def hang(scope: Scope) -> None:
        over.wait(30)

    operations = tiny.session.words.target.operations
    monkeypatch.setitem(operations, "hang", Operation("hang", hang))
    began = time.monotonic()
    hanging = together(MOVE, step("hang", label="slow"))
    outcome = tiny.run(plan(LATE, during=(hanging,), settle=0.3))
    took_s = time.monotonic() - began
    over.set()
    assert outcome.verdict is Verdict.ERROR
    assert "slow of `together` has not ended after 0.6 s" in outcome.reason
    assert took_s < 5


def test_an_actor_may_take_its_time_in_each_of_its_steps(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(scope: Scope) -> None:
        time.sleep(0.25)

    operations = tiny.session.words.target.operations
    monkeypatch.setitem(operations, "slow", Operation("slow", slow))
    patient = actor("patient", *[step("slow")] * 6)
    assert passed(tiny.run(plan(LATE, during=(together(MOVE, patient),), settle=0.3)))


def test_an_actor_may_wait_for_a_service_as_long_as_that_takes(tiny: Running) -> None:
    slowly = inject("delay", at="before carrier.recover", seconds=1.2)
    both = together(MOVE, restart("carrier"))
    assert passed(tiny.run(plan(slowly, during=(both,), settle=0.3)))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"during": (step("parcel.mvoe"),)}, "did you mean `parcel.move`"),
        ({"during": (step("parcel.move", parcel="q", to="b"),)}, "no step makes a parcel `q`"),
        ({"inject": (inject("crash", at="before desk.mvoe"),)}, "did you mean `desk.move`"),
        ({"inject": (inject("pause", at="before desk.move", until="movee"),)}, "has no step"),
        (
            {"inject": (inject("pause", at="before desk.move", until={"reach": "after desk.x"}),)},
            "no point `desk.x`",
        ),
        (
            {
                "inject": (
                    inject(
                        "crash", at=Location(when=When.BEFORE, point="desk.move", actor="mover")
                    ),
                )
            },
            "no step in `during` is called `mover`",
        ),
        (
            {"inject": (LATE, inject("crash", at="before carry.put", phase="then"))},
            "nothing happens in `then`",
        ),
        ({"during": (reach("before carry.put"), MOVE)}, "nothing is injected at"),
        ({"during": (kill("dsk"), MOVE)}, "did you mean `desk`?"),
        ({"bugs": {"torn-move": ("usage-matchs",)}}, "did you mean `usage-matches`?"),
        ({"invariants": ("usage-matchs",)}, "did you mean `usage-matches`?"),
    ],
)
def test_a_name_that_means_nothing_is_told_before_anything_runs(
    tiny: Running, parts: dict[str, object], told: str
) -> None:
    trials = len(tiny.journal.trials())
    with pytest.raises(UnboundPlan, match="plan `plan`") as error:
        tiny.run(Plan.model_validate({**plan(LATE).document(), **_document(parts)}))
    assert told in str(error.value)
    assert len(tiny.journal.trials()) == trials


@pytest.mark.parametrize("label", ["the first", "first@api", "crash:first", "first'"])
def test_a_label_that_a_schedule_could_not_tell_is_refused(label: str) -> None:
    with pytest.raises(ValidationError, match="a step cannot be called"):
        plan(LATE, during=(MOVE.model_copy(update={"label": label}),))


def _document(parts: dict[str, object]) -> dict[str, object]:
    return plan(LATE).model_copy(update=parts).document()


# ---------------------------------------------------------------------- a world that moves


@pytest.fixture
def moves(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the world never stand still at one moment of a round."""

    def moves(when: str) -> None:
        target = tiny.session.words.target
        look, observe = Stage.observe, target.observe
        now: list[str] = []

        def at(stage: Stage, moment: str, *checked: Checked) -> bool:
            now.append(moment)
            try:
                return look(stage, moment, *checked)
            finally:
                now.pop()

        def moving() -> World:
            if now == [when]:
                raise WorldMoved("it moved all the time")
            return observe()

        monkeypatch.setattr(Stage, "observe", at)
        monkeypatch.setattr(target, "observe", moving)

    return moves


@pytest.mark.parametrize("moment", ["after parcel.move", "struck", "recovered", "then struck"])
def test_a_world_that_moves_while_work_goes_on_is_no_error(
    tiny: Running, moves: Callable[[str], None], moment: str
) -> None:
    moves(moment)
    name = f"moves-{moment.replace(' ', '-').replace('.', '-')}"
    assert passed(tiny.run(plan(LATE, name=name, then=(BACK,))))
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    told = [(e.name, e.data.get("moved")) for e in events if e.kind is Kind.WORLD]
    assert (moment, "it moved all the time") in told


def test_a_world_that_moves_at_rest_is_a_finding(
    tiny: Running, moves: Callable[[str], None]
) -> None:
    moves("settled")
    outcome = tiny.run(plan(LATE))
    assert outcome.violated == ("settles",)
    assert "it says that it is at rest; it moved all the time" in outcome.reason


def test_a_service_that_a_step_of_then_kills_is_there_for_the_clean_up(tiny: Running) -> None:
    late = inject("delay", at="before desk.move", seconds=0.001)
    outcome = tiny.run(plan(late, name="killed-then", then=(kill("desk"),)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
