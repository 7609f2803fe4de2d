"""Every strategy on programs whose schedules can be counted: actors that read and write."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from chaos.errors import ChaosError
from chaos.plan import Schedules
from chaos.point import Access
from chaos.schedule import GOES_ON, Choices, ScheduleError, Strategy
from chaos.search import DepthFirst, PartialOrder, Pct, RandomWalk, Stated, strategy

Program = dict[str, list[str]]
"""What each actor does: ``r x`` reads, ``w x`` writes, ``?x`` ends it if x was written."""


def execute(program: Program, choices: Choices, *, tells: bool = True) -> tuple[str, ...]:
    """Run the actors as the choices say; what the steps of each saw."""
    written: dict[str, str] = {}
    left = {actor: list(steps) for actor, steps in program.items()}
    seen: dict[str, list[str]] = {actor: [] for actor in program}
    while ready := [actor for actor, steps in left.items() if steps]:
        actor = choices.choose(GOES_ON, ready)
        step = left[actor].pop(0)
        what = step[-1]
        seen[actor].append(f"{step}={written.get(what, '')}")
        if step[0] == "w":
            written[what] = f"{actor}{len(left[actor])}"
        elif step[0] == "?" and what in written:
            left[actor].clear()
        made = choices.schedule.choices[-1]
        made.visible = False
        if tells:
            made.touched = frozenset({Access(what, writes=step[0] == "w")})
    return tuple(f"{actor}: {' '.join(steps)}" for actor, steps in seen.items())


def explore(program: Program, by: Strategy, *, tells: bool = True) -> dict[str, tuple[str, ...]]:
    """Every schedule that the strategy executes, and what was seen in it."""
    executed = {}
    while by.begin():
        choices = Choices(by)
        result = execute(program, choices, tells=tells)
        by.end(choices.schedule)
        executed[str(choices.schedule)] = result
    return executed


def random_program(dice: random.Random) -> Program:
    actors = ["a", "b", "c"][: dice.choice([2, 2, 3])]
    return {
        actor: [
            dice.choice(["r ", "w ", "?"]) + dice.choice("xyz") for _ in range(dice.randint(1, 3))
        ]
        for actor in actors
    }


@pytest.mark.parametrize("seed", range(150))
def test_pruning_misses_no_outcome_and_says_how_many_schedules_there_are(seed: int) -> None:
    program = random_program(random.Random(seed))
    every = explore(program, DepthFirst(100_000))
    few = PartialOrder(100_000)
    executed = explore(program, few)
    assert set(executed.values()) == set(every.values())
    assert len(executed) <= len(every)
    assert few._stand_for == len(every)


@pytest.mark.parametrize("seed", range(100))
def test_pruning_turns_round_what_one_actor_does_at_several_places(seed: int) -> None:
    dice = random.Random(seed)
    steps = {
        lane: [dice.choice("rw") + dice.choice(" xy") for _ in range(dice.randint(1, 2))]
        for lane in ["a@api", "a@compute", "b"]
    }

    def run(choices: Choices) -> str:
        """As the gates do: ``a@api`` and ``a@compute`` while there are both, then ``a``."""
        written: dict[str, str] = {}
        left = {lane: list(does) for lane, does in steps.items()}
        seen: list[str] = []
        while ready := [lane for lane, does in left.items() if does]:
            several = sum(lane.startswith("a@") for lane in ready) > 1
            names = {lane if several else lane.partition("@")[0]: lane for lane in ready}
            lane = names[choices.choose(GOES_ON, list(names))]
            step = left[lane].pop(0)
            what, writes = step[1], step[0] == "w"
            seen.append(f"{lane} {step}={written.get(what, '')}")
            if writes:
                written[what] = f"{lane}{len(left[lane])}"
            made = choices.schedule.choices[-1]
            made.visible, made.touched = False, frozenset({Access(what, writes=writes)})
        # What one actor did counts as one thing after the other, whichever place it was at.
        return " ".join(sorted(seen, key=lambda what: what[0]))

    def explored(by: Strategy) -> list[str]:
        outcomes = []
        while by.begin():
            choices = Choices(by)
            outcomes.append(run(choices))
            by.end(choices.schedule)
        return outcomes

    few = PartialOrder(100_000)
    every = explored(DepthFirst(100_000))
    assert set(explored(few)) == set(every)
    assert few._stand_for == len(every)


def test_schedules_that_touch_nothing_in_common_are_executed_once() -> None:
    by = PartialOrder(1000)
    program = {"a": ["w x", "w x", "w x"], "b": ["w y", "w y", "w y"]}
    assert len(explore(program, by)) == 1
    assert "1 schedule was run, which stands for 20" in by.account


def test_a_target_that_does_not_tell_has_every_schedule_executed() -> None:
    program = {"a": ["w x", "w x"], "b": ["w y", "w y"]}
    by = PartialOrder(1000)
    assert len(explore(program, by, tells=False)) == 6
    assert by.account == ""


def test_a_sample_of_what_was_left_out_can_be_executed_too() -> None:
    program = {"a": ["w x", "w x", "w x"], "b": ["w y", "w y", "w y"]}
    by = PartialOrder(1000, sample=10)
    assert 1 < len(explore(program, by)) <= 11
    assert "10 of them were run at random" in by.account


def test_depth_first_executes_every_schedule_once_and_always_in_the_same_order() -> None:
    program = {"a": ["w x", "w x"], "b": ["w x", "w x"]}
    walks = [list(explore(program, DepthFirst(100))) for _ in range(2)]
    two_each = {" ".join(order) for order in itertools.permutations("aabb")}
    assert walks[0] == walks[1]
    assert set(walks[0]) == two_each


def test_depth_first_stops_after_the_first_so_many() -> None:
    assert len(explore({"a": ["w x", "w x"], "b": ["w x", "w x"]}, DepthFirst(3))) == 3


@pytest.mark.parametrize("by", [DepthFirst(4, all_of_them=True), PartialOrder(4)])
def test_more_schedules_than_allowed_are_refused_with_what_to_do(by: Strategy) -> None:
    with pytest.raises(ChaosError, match="more than 4 schedules; list fewer points"):
        explore({"a": ["w x", "w x"], "b": ["w x", "w x"]}, by)


@pytest.mark.parametrize("kind", ["random", "pct"])
def test_random_schedules_are_the_same_for_the_same_seed(kind: str) -> None:
    program = {"a": ["w x"] * 4, "b": ["w x"] * 4}

    def walk(seed: int) -> list[str]:
        wanted = Schedules.model_validate({kind: 20, "seed": seed})
        return list(explore(program, strategy(wanted)))

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_pct_finds_a_bug_of_depth_two_within_its_bound() -> None:
    # b has to write x before the last read of a: one event order.
    program = {"a": ["w y"] * 7 + ["?x", "w z"], "b": ["w x"]}
    caught = [
        any("w z" not in str(seen) for seen in explore(program, Pct(60, 2, seed)).values())
        for seed in range(20)
    ]
    assert all(caught)


def test_random_and_pct_do_as_many_rounds_as_were_asked_for() -> None:
    for by in (RandomWalk(7, 0), Pct(7, 3, 0)):
        rounds = 0
        while by.begin():
            rounds += 1
        assert rounds == 7


def test_a_stated_schedule_is_read_back() -> None:
    program = {"a": ["w x", "w x"], "b": ["w x"]}
    assert list(explore(program, Stated(["b a a", "a b a"]))) == ["b a a", "a b a"]


def test_a_stated_schedule_that_ends_early_goes_on_with_the_first_option() -> None:
    assert list(explore({"a": ["w x", "w x"], "b": ["w x"]}, Stated(["b"]))) == ["b a a"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a a", "step 2 wants `a`, but only b \\(goes on\\) could be chosen after a"),
        ("a b b", "step 3 wants `b`, but only nothing could be chosen after a b"),
    ],
)
def test_a_stated_schedule_that_does_not_fit_says_where(text: str, told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        explore({"a": ["w x"], "b": ["w x"]}, Stated([text]))


def test_every_kind_of_schedules_has_its_strategy() -> None:
    kinds: Sequence[tuple[object, type[Strategy]]] = [
        ("all", PartialOrder),
        ({"every": 9}, DepthFirst),
        (9, DepthFirst),
        ({"random": 9}, RandomWalk),
        ({"pct": 9}, Pct),
        (["a b"], Stated),
    ]
    for written, kind in kinds:
        assert type(strategy(Schedules.model_validate(written))) is kind
