"""What a search leaves out on a running target, and what it says about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chaos.engine.case import Case
from chaos.plan import Plan, Step, actor, inject, kill, reach, restart, start, step, together
from chaos.verdict import Verdict
from tests.conftest import Running
from tests.engine.racing import before, claim, every, parcels, passed, race, send, stands_for

CLAIM = ("before claim.read", "before claim.write")
CARRY = ("before carry.take", "before carry.put")
LOOK = step("parcel.expect", parcel="p")


def claims(label: str, *names: str) -> list[Step]:
    return [step("parcel.claim", parcel=name, by=label, allow=(409,)) for name in names]


SHAPES = {
    "one-parcel": race("n", claim("p", "a"), claim("p", "b"), points=CLAIM),
    "two-parcels": race("n", claim("p", "a"), claim("q", "b"), points=CLAIM),
    "three-actors": race(
        "n", claim("p", "a"), claim("q", "b"), claim("p", "c"), points=("before claim.write",)
    ),
    "an-end-that-depends-on-what-was-read": race(
        "n", claim("p", "a"), claim("q", "b"), claim("p", "c"), points=CLAIM
    ),
    "sends": race("n", send("p", "y", "a"), send("q", "z", "b"), points=CARRY),
    "a-send-beside-a-claim": race(
        "n", send("p", "y", "a"), claim("q", "b"), points=(*CARRY, *CLAIM)
    ),
    "a-death": race("n", claim("p", "a"), claim("q", "b"), points=CLAIM, crashes=1),
    "two-deaths": race(
        "n", send("p", "y", "a"), claim("q", "b"), points=("before carry.put", *CLAIM), crashes=2
    ),
    "lists": race(
        "n",
        actor("a", *claims("a", "p", "q")),
        actor("b", *claims("b", "q", "p")),
        points=("before claim.write",),
    ),
    "strands": race(
        "n",
        actor("a", send("p", "y"), *claims("a", "q")),
        claim("q", "b"),
        points=("before carry.put", "before claim.write"),
    ),
    "strands-of-several-sends": race(
        "n",
        actor("a", send("p", "y"), send("q", "y")),
        claim("q", "b"),
        points=("before carry.take", "before claim.write"),
    ),
    "one-who-waits": race(
        "n",
        actor("a", step("parcel.wait", parcel="p", place="y"), *claims("a", "p")),
        send("p", "y", "b"),
        claim("q", "c"),
        points=("before claim.write", *CARRY),
    ),
    "a-look": race(
        "n", actor("a", *claims("a", "p"), LOOK), claim("q", "b"), points=("before claim.write",)
    ),
    "a-restart": race(
        "n",
        send("p", "y", "a"),
        actor("r", restart("carrier")),
        claim("q", "b"),
        points=("before carry.put", "before recover.take", "before claim.write"),
    ),
    "a-kill": race(
        "n",
        claim("p", "a"),
        claim("q", "b"),
        actor("k", kill("desk"), start("desk")),
        points=("before claim.write",),
    ),
    "two-races": race(
        "n", claim("p", "a"), claim("q", "b"), send("p", "y", "c"), points=("before claim.write",),
    ).model_copy(
        update={
            "during": (
                together(claim("p", "a"), claim("q", "b")),
                together(claim("p", "c"), claim("q", "d")),
            ),
            "inject": (
                inject("race", actors=["a", "b"], points=list(CLAIM)),
                inject("race", actors=["c", "d"], points=["before claim.read"]),
            ),
        }
    ),
    "two-races-at-once": race("n", claim("p", "a"), claim("q", "b"), points=CLAIM).model_copy(
        update={
            "during": (
                together(claim("p", "a"), claim("q", "b"), claim("p", "c"), claim("q", "d")),
            ),
            "inject": (
                inject("race", actors=["a", "b"], points=["before claim.read"]),
                inject("race", actors=["c", "d"], points=["before claim.write"]),
            ),
        }
    ),
    "a-fault-that-may-strike": race(
        "n", claim("p", "a"), claim("q", "b"), points=CLAIM,
        more=[inject("delay", at=before("claim.write", "a"),
                     seconds=0.01, maybe=True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_count_of_what_was_left_out_is_the_number_of_all_schedules(
    tiny: Running, shape: str
) -> None:
    plan = SHAPES[shape].model_copy(update={"name": shape})
    few = passed(tiny, plan)
    told = stands_for(tiny.outcome)
    everything = passed(tiny, every(plan))
    assert len({*few}) == len(few)
    assert len({*everything}) == len(everything)
    assert {*few} <= {*everything}
    assert told == len(everything)


@pytest.mark.parametrize(
    "shape", ["two-parcels", "a-send-beside-a-claim", "three-actors", "a-death", "two-races"]
)
def test_fewer_are_run_than_there_are(tiny: Running, shape: str) -> None:
    few = passed(tiny, SHAPES[shape].model_copy(update={"name": shape}))
    assert len(few) < stands_for(tiny.outcome)


def test_moves_of_different_parcels_are_run_once(tiny: Running) -> None:
    moves = [step("parcel.move", parcel=name, to=to, label=to) for name, to in ("pu", "qv")]
    given = (*parcels("p"), step("parcel.make", name="q", place="y"))
    plan = race(
        "moves", *moves, points=("before desk.move",), given=given, invariants=("recoverable",)
    )
    assert passed(tiny, plan) == ["u v"]
    assert "1 schedule was run, which stands for 2" in tiny.outcome.account


def test_what_an_observer_could_tell_apart_is_not_left_out(tiny: Running) -> None:
    moves = [step("parcel.move", parcel=name, to=to, label=to) for name, to in ("pu", "qv")]
    given = (*parcels("p"), step("parcel.make", name="q", place="y"))
    plan = race(
        "seen-moves", *moves, points=("before desk.move",), given=given,
        invariants=("usage-matches",),
    )  # fmt: skip
    assert sorted(passed(tiny, plan)) == ["u v", "v u"]


def test_where_actors_wait_for_something_that_is_not_told_nothing_is_left_out(
    tiny: Running,
) -> None:
    # They come out of their transactions in another order, but touch the same only later on.
    moves = [step("parcel.move", parcel=name, to=to, label=to) for name, to in ("pu", "qv")]
    plan = race("hidden-waits", *moves, points=("before desk.move", "before usage.take"))
    everything = passed(tiny, every(plan))
    schedules = passed(tiny, plan)
    assert "all of 4 schedules were run: actors waited for each other" in tiny.outcome.account
    assert schedules[-4:] == everything


def test_where_actors_wait_for_each_other_not_every_order_can_be_executed(tiny: Running) -> None:
    lends = [actor(name, LOOK, step("parcel.lend", parcel="p", to=name)) for name in "ab"]
    plan = race(
        "told-waits", *lends, claim("q", "c"), points=("before lend.inside", "before claim.write")
    )
    schedules = passed(tiny, plan)
    account, told = tiny.outcome.account, stands_for(tiny.outcome)
    assert "stand for at most" in account
    assert len(schedules) < len(passed(tiny, every(plan))) <= told


# ---------------------------------------------------------------------- nothing that matters


def test_a_fault_that_strikes_whoever_comes_first_makes_every_order_count(tiny: Running) -> None:
    first = inject("delay", at="before claim.write", seconds=0.01)
    plan = race("first-come", claim("p", "a"), claim("q", "b"), points=CLAIM, more=[first])
    assert len(passed(tiny, plan)) == 6


def test_a_fault_that_holds_somebody_else_leaves_orders_to_be_left_out(tiny: Running) -> None:
    plan = race("held-aside", claim("p", "a"), claim("q", "b"), points=CLAIM)
    plan = plan.model_copy(
        update={
            "given": parcels("p", "q", "r"),
            "during": (send("r", "y"), reach("before carry.take"), *plan.during),
            "inject": (inject("pause", at="before carry.take"), *plan.inject),
        }
    )
    assert len(passed(tiny, plan)) == 1
    assert stands_for(tiny.outcome) == 6


def test_the_step_in_which_a_fault_strikes_conflicts_with_every_other(tiny: Running) -> None:
    strikes = inject("error", at=before("claim.write", "a"))
    actors = [claim("p", "a").model_copy(update={"allow": (500,)}), claim("q", "b")]
    plan = race("struck-step", *actors, points=CLAIM, more=[strikes])
    schedules = passed(tiny, plan)
    assert 1 < len(schedules) < stands_for(tiny.outcome)
    assert stands_for(tiny.outcome) == len(passed(tiny, every(plan)))


def test_what_another_actor_does_when_a_lock_is_given_back_belongs_to_the_step(
    tiny: Running,
) -> None:
    # b goes on inside a step of a, from the lock to its end, and writes what c reads.
    lends = [step("parcel.lend", parcel="p", to=name, label=name) for name in "ab"]
    plan = race(
        "given-back", *lends, claim("p", "c"), points=("before lend.inside", "before claim.write")
    )
    schedules = passed(tiny, plan)
    assert {*schedules} == {*passed(tiny, every(plan))}


# ---------------------------------------------------------------------- a sample of it


def test_a_sample_of_what_was_left_out_is_executed(tiny: Running) -> None:
    plan = SHAPES["two-parcels"].model_copy(update={"name": "sampled"})
    tiny.run_case(Case(plan, sample=3))
    assert tiny.outcome.verdict is Verdict.PASS
    assert len({*tiny.schedules}) == len(tiny.schedules) == 4
    assert tiny.outcome.account.endswith("; 3 of them were run at random")


def test_a_sample_is_at_most_what_was_left_out(tiny: Running) -> None:
    plan = SHAPES["two-parcels"].model_copy(update={"name": "sampled-whole"})
    tiny.run_case(Case(plan, sample=100))
    assert len({*tiny.schedules}) == len(tiny.schedules) == 6


@pytest.mark.parametrize("kind", ["random", "pct"])
def test_schedules_at_random_are_executed_on_the_target(tiny: Running, kind: str) -> None:
    plan = SHAPES["strands"]
    wanted = {kind: 6, "seed": 3}
    plan = Plan.model_validate({**plan.model_dump(by_alias=True), "schedules": wanted})
    first = passed(tiny, plan.model_copy(update={"name": kind}))
    assert len(first) == 6
    assert passed(tiny, plan) == first


# ---------------------------------------------------------------------- the same every time


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Somebody else uses every core, for a minute at most."""
    burn = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    burners = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(os.cpu_count() or 1)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize("shape", ["three-actors", "strands"])
def test_a_race_has_the_same_schedules_every_time_on_a_busy_machine(
    tiny: Running, shape: str
) -> None:
    plan = SHAPES[shape].model_copy(update={"name": f"again-{shape}"})
    found = set()
    for _ in range(10):
        schedules = passed(tiny, plan)
        found.add((tuple(schedules), tiny.outcome.account))
    assert len(found) == 1
