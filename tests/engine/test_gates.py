"""Actors of a race: what they do, how it is known that they rest, and what is seen between."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from chaos.engine import gates
from chaos.history import Kind
from chaos.invariant import NO_DEADLOCK
from chaos.plan import Plan, actor, inject, kill, reach, restart, start, step
from chaos.verdict import Verdict
from targets.processes.service import LocalService
from tests.conftest import Running
from tests.engine.racing import before, claim, parcels, passed, race, send

CLAIM = ("before claim.read", "before claim.write")
CARRY = ("before carry.take", "before carry.put")


def swaps(name: str, **more: Any) -> Plan:
    """Two swaps of the same parcels, who name them the other way round."""
    looks = step("parcel.expect", parcel="p")
    return race(
        name,
        actor("a", looks, step("parcel.swap", first="p", second="q")),
        actor("b", looks, step("parcel.swap", first="q", second="p")),
        points=("before swap.between", "before swap.inside"),
        given=(*parcels("p"), step("parcel.make", name="q", place="y")),
        settle=2.0,
        **more,
    )


# ---------------------------------------------------------------------- actors


def test_an_actor_is_a_list_of_steps_and_each_of_them_is_a_choice(tiny: Running) -> None:
    both = actor("a", step("parcel.claim", parcel="p", by="a"), send("p", "y"))
    plan = race("lists-of-steps", both, claim("q", "b"), points=("before claim.write",))
    plan = plan.model_copy(update={"schedules": plan.schedules.model_validate({"every": 9})})
    assert sorted(passed(tiny, plan)) == ["a a b", "a b a", "b a a"]


def test_what_an_actor_causes_is_held_after_its_answer(tiny: Running) -> None:
    plan = race("carried-on", send("p", "y", "a"), send("q", "y", "b"), points=CARRY)
    schedules = passed(tiny, plan)
    assert sorted(schedules) == ["a a b b", "a b a b", "a b b a", "b a a b", "b a b a", "b b a a"]
    trial = tiny.journal.trials()[-1]
    events = tiny.journal.events(trial.id, 1)
    answered = next(e for e in events if e.kind is Kind.OK and e.actor == "a")
    held = [e for e in events if e.kind is Kind.FAULT and e.lane == "carrier"]
    assert len(held) == 4
    assert all(answered.at_ns < event.at_ns for event in held)


def test_an_actor_has_ended_when_nothing_is_under_way_for_it_any_more(tiny: Running) -> None:
    plan = race(
        "ends-by-evidence",
        actor("a", send("p", "y"), step("parcel.expect", parcel="p", place="y")),
        claim("q", "b"),
        points=("before claim.write",),
        schedules=["a b", "b a"],
    )
    passed(tiny, plan)


def test_strands_of_one_actor_are_chosen_one_by_one(tiny: Running) -> None:
    plan = race(
        "strands",
        actor("a", send("p", "y"), step("parcel.claim", parcel="q", by="a", allow=(409,))),
        claim("q", "b"),
        points=("before carry.put", "before claim.write"),
        schedules=["a@carrier a@client a b", "a@client b a@desk a@carrier"],
    )
    passed(tiny, plan)


def test_two_strands_in_one_service_are_told_apart(tiny: Running) -> None:
    plan = race(
        "strands-in-one-service",
        actor("a", send("p", "y"), send("q", "y")),
        claim("p", "b"),
        points=("before carry.put", "before claim.write"),
        schedules=["a@client a@carrier' a@carrier b", "b a@client a@carrier a@carrier'"],
    )
    passed(tiny, plan)


def test_a_client_that_moves_is_waited_for_while_another_strand_of_it_is_held(
    tiny: Running,
) -> None:
    a = actor("a", send("p", "y"), step("parcel.claim", parcel="q", by="a"))
    b = send("q", "y", "b")
    plan = race(
        "moves-beside", a, b, points=("before carry.take",), schedules=["a@client a@carrier b"]
    )
    passed(tiny, plan)


# ---------------------------------------------------------------------- looking and waiting


def test_who_waits_for_another_actor_looks_again_whenever_something_was_done(
    tiny: Running,
) -> None:
    waits = actor(
        "a", step("parcel.wait", parcel="p", place="y"), step("parcel.claim", parcel="p", by="a")
    )
    plan = race(
        "waits", waits, send("p", "y", "b"), claim("q", "c"),
        points=("before carry.put", "before claim.read"), schedules={"every": 9},
    )  # fmt: skip
    assert sorted(passed(tiny, plan)) == ["b a a c", "b a c a", "b c a a", "c b a a"]


def test_what_an_actor_looks_at_is_seen_in_its_own_step(tiny: Running) -> None:
    looks = actor(
        "a",
        step("parcel.claim", parcel="q", by="a"),
        step("parcel.expect", parcel="p", place="x"),
    )
    moves = step("parcel.move", parcel="p", to="y", label="b")
    plan = race("looks", looks, moves, points=("before desk.move",), invariants=None)
    passed(tiny, plan.model_copy(update={"schedules": plan.schedules.model_validate(["a b"])}))
    outcome = tiny.run(plan, schedule="b a")
    assert outcome.violated == ("steps-succeed",)
    assert "p is at y, not at x" in outcome.reason


def test_who_waits_in_vain_fails_when_nobody_else_can_bring_it_about(tiny: Running) -> None:
    waits = actor("a", step("parcel.wait", parcel="p", place="z"))
    plan = race(
        "in-vain", waits, claim("p", "b"), claim("q", "c"), points=CLAIM, settle=0.5, schedules=1
    )
    outcome = tiny.run(plan)
    assert outcome.violated == ("steps-succeed",)
    assert "nobody else had anything left to do" in outcome.reason


def test_who_waits_is_patient_while_others_are_held(tiny: Running) -> None:
    waits = actor("a", step("parcel.wait", parcel="p", place="y"))
    lends = [step("parcel.lend", parcel="q", to=name, label=name) for name in "bcd"]
    plan = race(
        "patient",
        waits,
        *lends,
        send("p", "y", "e"),
        points=("before lend.inside", "before carry.take"),
        schedules=["b c d e"],
        settle=0.6,
    )
    began = time.monotonic()
    passed(tiny, plan)
    assert time.monotonic() - began > 0.6  # it takes longer than a wait may by itself


def test_an_actor_can_wait_until_a_fault_has_struck(tiny: Running) -> None:
    waits = actor("a", reach("before carry.put"), step("parcel.claim", parcel="p", by="a"))
    late = inject("delay", at="before carry.put", seconds=0.01)
    plan = race(
        "reaches", waits, send("p", "y", "b"), claim("q", "c"),
        points=("before carry.take", "before claim.write"), more=[late],
    )  # fmt: skip
    assert sorted(passed(tiny, plan)) == ["b a a c", "b a c a", "b c a a", "c b a a"]


# ---------------------------------------------------------------------- recoveries and deaths


def test_a_recovery_is_an_actor(tiny: Running) -> None:
    plan = race(
        "recovery-races",
        send("p", "y", "a"),
        actor("r", restart("carrier")),
        points=(*CARRY, "before recover.take", "before recover.finish"),
    )
    assert sorted(passed(tiny, plan)) == ["a a r", "a r r r", "r r r"]


def test_a_tick_is_an_actor(tiny: Running) -> None:
    plan = race(
        "tick-races",
        send("p", "y", "a"),
        step("carrier.tick", label="t"),
        points=("before send.store", "before carrier.tick"),
    )
    assert sorted(passed(tiny, plan)) == ["a t", "t a"]


def test_killing_and_starting_are_steps_of_an_actor(tiny: Running) -> None:
    plan = race(
        "killed-then-started",
        send("p", "y", "a"),
        actor("k", kill("carrier"), start("carrier")),
        points=(*CARRY, "before recover.take"),
    )
    assert sorted(passed(tiny, plan)) == ["a a k k", "a k k k", "k k k"]


@pytest.mark.parametrize("slow", ["kill", "start"])
def test_who_kills_or_starts_a_service_slowly_waits_for_nobody(
    tiny: Running, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    done = getattr(LocalService, slow)

    def slowly(self: LocalService, *arguments: Any) -> None:
        if arguments or slow == "kill":  # not the reset's, nor the recovery's
            time.sleep(6 * tiny.session.words.target.limits.blocked_s)
        done(self, *arguments)

    monkeypatch.setattr(LocalService, slow, slowly)
    plan = race(
        "changes-slowly", claim("p", "a"), claim("q", "b"), actor("r", restart("carrier")),
        points=("before claim.write",), schedules=["r a b"],
    )  # fmt: skip
    passed(tiny, plan)
    assert not any(choice.waited for choice in tiny.outcome.schedule)


def test_a_start_that_waits_for_an_actor_is_recognised_after_its_limit(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny.session.words.target
    monkeypatch.setattr(target, "limits", replace(target.limits, start_s=0.5))
    plan = race(
        "start-locked-out",
        send("p", "y", "a"),
        actor("r", restart("carrier")),
        step("parcel.post", parcel="q", text="t", label="b"),
        points=("before carry.take", "before recover.take", "before post.inside"),
        schedules=["r r b"],
    )
    passed(tiny, plan)
    assert [choice.waited for choice in tiny.outcome.schedule] == [True, True, True]


def test_who_is_taken_up_again_by_a_timer_waits_for_nobody(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tiny.session.words.target
    monkeypatch.setattr(target, "limits", replace(target.limits, blocked_s=0.02))
    fails = inject("error", at=before("carry.take", "a"))
    plan = race(
        "taken-up-again", send("p", "y", "a"), claim("q", "b"),
        points=("before carry.put", "before claim.write"), more=[fails], schedules={"every": 9},
    )  # fmt: skip
    assert sorted(passed(tiny, plan)) == ["a b", "b a"]


def test_nobody_is_held_in_a_service_that_an_actor_has_killed(tiny: Running) -> None:
    plan = race(
        "killed-beside",
        claim("p", "a"),
        claim("q", "b"),
        actor("k", restart("desk")),
        points=CLAIM,
        schedules=["k", "a k", "a b k"],
    )
    assert passed(tiny, plan) == ["k", "a k", "a b k"]


def test_the_work_of_another_actor_in_a_recovered_service_stays_his(tiny: Running) -> None:
    plan = race(
        "whose-work",
        actor("r", restart("carrier")),
        actor("a", step("parcel.expect", parcel="p"), send("p", "y")),
        points=("before carry.take",),
        schedules=["r a a", "a r"],
    )
    passed(tiny, plan)


def test_a_recovery_that_is_held_for_long_is_no_failed_one(tiny: Running) -> None:
    limit_s = tiny.session.words.target.limits.start_s
    lends = [step("parcel.lend", parcel="q", to=name, label=name) for name in "bcd"]
    assert limit_s > 0
    plan = race(
        "held-recovery",
        send("p", "y", "a"),
        actor("r", restart("carrier")),
        *lends,
        points=("before carry.put", "before recover.take", "before lend.inside"),
        schedules=["r b c d r"],
    )
    passed(tiny, plan)


@pytest.mark.parametrize("bug", ["", "lost-send"])
def test_a_death_is_tried_wherever_an_actor_is_held(tiny: Running, bug: str) -> None:
    plan = race("deaths", send("p", "y", "a"), send("q", "z", "b"), points=CARRY, crashes=1)
    outcome = tiny.run(plan, bug)
    if bug:
        assert outcome.violated == ("parcels-somewhere",)
        assert "crash:" in str(outcome.schedule)
    else:
        assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
        deaths = [
            schedule.split().index(d)
            for schedule in tiny.schedules
            for d in ("crash:a", "crash:b")
            if d in schedule.split()
        ]
        assert {*deaths} == {0, 1, 2, 3}


@pytest.mark.parametrize("bug", ["", "once-only-recovery"])
def test_a_service_can_die_while_it_recovers(tiny: Running, bug: str) -> None:
    plan = race(
        "dies-again",
        send("p", "y", "a"),
        actor("r", restart("carrier")),
        points=("before carry.put", "before recover.finish"),
        crashes=1,
    )
    outcome = tiny.run(plan, bug)
    if bug:
        assert outcome.violated == ("parcels-somewhere",)
        assert str(outcome.schedule).endswith("crash:r")
    else:
        assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
        assert "r crash:r" in tiny.schedules


# ---------------------------------------------------------------------- waiting for each other


def test_who_waits_for_a_lock_of_one_who_is_held_is_recognised(tiny: Running) -> None:
    lends = [step("parcel.lend", parcel="p", to=name, label=name) for name in "ab"]
    plan = race("locked-out", *lends, points=("before lend.inside",))
    assert passed(tiny, plan) == ["a b"]


def test_who_waits_for_a_transaction_of_one_who_is_held_is_recognised(tiny: Running) -> None:
    posts = [step("parcel.post", parcel=name, text="t", label=name) for name in "pq"]
    plan = race("transactions", *posts, points=("before post.inside",))
    assert {*passed(tiny, plan)} == {"p q"}


def test_a_strand_that_waits_for_a_transaction_is_recognised_beside_one_that_is_held(
    tiny: Running,
) -> None:
    plan = race(
        "strand-locked-out",
        actor("b", send("p", "y"), step("parcel.claim", parcel="q", by="b")),
        step("parcel.post", parcel="q", text="t", label="a"),
        points=("before post.inside", "before carry.take", "before claim.read"),
        schedules=["b@client b@carrier a b@desk"],
    )
    passed(tiny, plan)


def test_locks_in_one_order_pass_every_schedule(tiny: Running) -> None:
    assert len(passed(tiny, swaps("ordered"))) > 2


@pytest.mark.slow
def test_a_search_finds_actors_that_wait_for_each_other_for_ever_and_ends_them(
    tiny: Running,
) -> None:
    plan = swaps("unordered")
    passed(tiny, plan, bug="unordered-locks", schedule="a a a b b b")
    outcome = tiny.run(plan, "unordered-locks")
    assert outcome.verdict is Verdict.FAIL
    assert NO_DEADLOCK in outcome.violated
    assert str(outcome.schedule) == "a b a b"
    assert len(tiny.schedules) > 1
    hold = "in desk since before tests.tiny.desk:Desk.hold"
    assert f"a waits {hold}; b waits {hold}" in outcome.reason
    assert actors_after(60.0) == []
    passed(tiny, race("after-a-deadlock", claim("p", "a"), claim("p", "b"), points=CLAIM))


def actors_after(seconds: float) -> list[str]:
    """The threads of actors that are still there."""
    until = time.monotonic() + seconds
    while True:
        alive = [t.name for t in threading.enumerate() if t.name.startswith("chaos-")]
        alive = [name for name in alive if name not in ("chaos-controller", "chaos-nursery")]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.01)


def test_who_is_only_slow_is_no_deadlock(tiny: Running) -> None:
    late = inject("delay", at=before("claim.write", "a"), seconds=0.8)
    plan = race(
        "slow", claim("p", "a"), claim("q", "b"), points=("before claim.read",), more=[late]
    )
    assert sorted(passed(tiny, plan)) == ["a b", "b a"]


# ---------------------------------------------------------------------- seen between two steps


def torn(name: str, *invariants: str, schedules: object = "all") -> Plan:
    return race(
        name,
        step("parcel.move", parcel="p", to="y", label="a"),
        claim("q", "b"),
        points=("before usage.take", "before usage.give", *CLAIM),
        invariants=invariants,
        schedules=schedules,
    )


INTERLEAVED = ["a a b b", "a b a b", "a b b a", "b a a b", "b a b a", "b b a a"]


@pytest.mark.parametrize("schedule", INTERLEAVED)
def test_what_is_wrong_for_one_step_is_seen_in_every_schedule(tiny: Running, schedule: str) -> None:
    outcome = tiny.run(torn("torn", "usage-matches"), "torn-move", schedule)
    assert outcome.violated == ("usage-matches",)


def test_what_is_wrong_for_one_step_is_right_again_at_rest(tiny: Running) -> None:
    plan = torn("torn-at-rest", "parcels-somewhere", schedules=INTERLEAVED)
    assert passed(tiny, plan, bug="torn-move") == INTERLEAVED


def test_correct_code_has_nothing_wrong_between_two_steps(tiny: Running) -> None:
    passed(tiny, torn("whole", "usage-matches"))


@pytest.mark.parametrize("bug", ["", "blind-claim"])
def test_what_only_some_orders_do_wrong_is_found(tiny: Running, bug: str) -> None:
    plan = race("claims", claim("p", "a"), claim("p", "b"), points=CLAIM)
    outcome = tiny.run(plan, bug)
    assert outcome.violated == (("one-owner",) if bug else ())


# ---------------------------------------------------------------------- no end, and no good one


def test_a_race_that_goes_round_in_a_circle_is_an_error(
    tiny: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MOST_STEPS", 5)
    fails = inject("error", at=before("carry.put", "a"), times=1000)
    plan = race(
        "circle", send("p", "y", "a"), claim("q", "b"), points=("before carry.take",), more=[fails]
    )
    outcome = tiny.run(plan)
    assert outcome.verdict is Verdict.ERROR
    assert "after 5 steps the race has not ended (now: a carry.take" in outcome.reason


def test_when_a_race_is_called_off_nobody_begins_anything_new(tiny: Running) -> None:
    two = actor("a", *[step("parcel.claim", parcel=name, by="a") for name in "pq"])
    plan = race("called-off", two, claim("p", "b"), points=CLAIM)
    outcome = tiny.run(plan, schedule="a b nobody")
    assert outcome.verdict is Verdict.ERROR
    assert "step 3 wants `nobody`" in outcome.reason
    assert actors_after(0.0) == []
    invoked = [
        event.data["arguments"]
        for event in tiny.journal.events(tiny.journal.trials()[-1].id, 1)
        if event.kind is Kind.INVOKE and event.actor == "a"
    ]
    assert invoked == [{"parcel": "p", "by": "a"}]


@pytest.mark.parametrize("schedules", ["all", ["crash:a"]], ids=str)
def test_a_death_is_no_choice_between_actors(tiny: Running, schedules: object) -> None:
    makes = step("parcel.make", name="r", place="x", label="b")
    plan = race(
        "alone", claim("p", "a"), makes, points=("before claim.read",),
        crashes=1, schedules=schedules,
    )  # fmt: skip
    outcome = tiny.run(plan)
    assert outcome.verdict is Verdict.VACUOUS
    assert "never waited at the points at the same time" in outcome.reason
