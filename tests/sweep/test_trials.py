"""What a sweep takes from a plan, and from the run of it."""

from __future__ import annotations

from chaos.history import Event, Kind
from chaos.plan import Phase, actor, inject, reach, step, together
from chaos.point import When
from chaos.sweep.passages import Passage, passages
from chaos.sweep.trials import crashing, golden
from tests.tiny.plans import MOVE, PARCEL, plan

PLACE = Passage(Phase.DURING, When.AFTER, "usage.take", "desk", 2)
AGAIN = Passage(Phase.RECOVER, When.BEFORE, "carrier.recover", "carrier", 1)


def told(at_ns: int, kind: Kind, lane: str, name: str, action: str = "record") -> Event:
    return Event(at_ns, kind, lane, name, data={"action": action})


def test_a_golden_run_has_neither_faults_nor_what_waits_for_them_or_follows_them() -> None:
    struck = inject("crash", at="before usage.take")
    whole = plan(
        struck,
        during=(
            reach("before usage.take"),
            together(
                actor("a", reach("before usage.take"), MOVE, step("parcel.expect", parcel="p")),
                actor("b", reach("before usage.take")),
            ),
        ),
        then=(step("parcel.expect", parcel="p"),),
        scenario="S1.1",
        repeat=3,
    )
    bare = golden(whole, asserting=["parcel.expect"])
    assert (bare.given, bare.inject, bare.then, bare.repeat) == ((PARCEL,), (), (), 1)
    assert bare.during == (together(actor("a", MOVE)),)


def test_what_strikes_by_itself_has_no_place_after_a_reach_that_is_gone() -> None:
    struck = inject("crash", at="before usage.take")
    strike, here = step("parcel.lose", parcel="p"), reach("before usage.take")
    before = plan(struck, during=(strike, here, MOVE))
    after = plan(struck, during=(here, strike, together(actor("a", strike), actor("b", MOVE))))
    meanwhile = plan(struck, during=(together(actor("a", here, MOVE, strike), MOVE), strike))
    told = [golden(one, striking=["parcel.lose"]).during for one in (before, after, meanwhile)]
    assert told == [
        (strike, MOVE),
        (together(actor("b", MOVE)),),
        (together(actor("a", MOVE), MOVE), strike),
    ]


def test_a_trial_crashes_at_its_places_and_lets_the_invariants_judge() -> None:
    trial = crashing(plan(inject("crash", at="before usage.take")), (PLACE, AGAIN))
    assert [injection.model_dump(by_alias=True) for injection in trial.inject] == [
        {
            "at": {"after": "usage.take", "service": "desk", "occurrence": 2},
            "do": "crash",
        },
        {
            "in": "recover",
            "at": {"before": "carrier.recover", "service": "carrier"},
            "do": "crash",
        },
    ]
    assert trial.tolerant
    assert trial.case == (
        "after usage.take in desk, occurrence 2; before carrier.recover in carrier, in recover"
    )


def test_every_call_of_a_point_is_passed_on_both_sides_and_counted_in_its_service() -> None:
    events = [
        told(1, Kind.HIT, "desk", "usage.take"),  # of the steady state
        told(2, Kind.STEP, "plan", "during"),
        told(3, Kind.HIT, "desk", "usage.take"),
        told(6, Kind.HIT, "desk", "usage.take"),
        told(5, Kind.HIT, "carrier", "usage.take"),  # known later than it happened
        told(4, Kind.HIT, "desk", "usage.give", "crash"),  # the fault itself is no passage
        told(7, Kind.STEP, "plan", "settle"),
        told(8, Kind.HIT, "carrier", "carry.put"),
        told(9, Kind.STEP, "plan", "clean up"),
        told(10, Kind.HIT, "desk", "desk.drop"),
    ]
    assert [str(one) for one in passages(events, Phase.DURING)] == [
        "before usage.take in desk",
        "after usage.take in desk",
        "before usage.take in carrier",
        "after usage.take in carrier",
        "before usage.take in desk, occurrence 2",
        "after usage.take in desk, occurrence 2",
        "before carry.put in carrier",
        "after carry.put in carrier",
    ]


def test_what_is_passed_in_a_recovery_begins_with_it() -> None:
    events = [
        told(1, Kind.STEP, "plan", "during"),
        told(2, Kind.HIT, "desk", "usage.take"),
        told(3, Kind.STEP, "plan", "recover"),
        told(4, Kind.HIT, "carrier", "carrier.recover"),
        told(5, Kind.STEP, "plan", "clean up"),
    ]
    assert [str(one) for one in passages(events, Phase.RECOVER)] == [
        "before carrier.recover in carrier, in recover",
        "after carrier.recover in carrier, in recover",
    ]


def test_what_is_passed_as_those_come_back_whom_the_plan_took_down_is_of_the_recovery() -> None:
    events = [
        told(1, Kind.STEP, "plan", "during"),
        told(2, Kind.HIT, "desk", "usage.take"),
        Event(3, Kind.SERVICE, "carrier", "killed"),
        told(4, Kind.STEP, "plan", "recover"),
        told(5, Kind.HIT, "desk", "usage.take"),
        told(6, Kind.STEP, "plan", "clean up"),
    ]
    assert [str(one) for one in passages(events, Phase.DURING)] == [
        "before usage.take in desk",
        "after usage.take in desk",
        "before usage.take in desk, in recover",
        "after usage.take in desk, in recover",
    ]
