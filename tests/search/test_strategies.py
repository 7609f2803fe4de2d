"""Every strategy on programs whose schedules can be counted: actors that read and write."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

import pytest

from chaos.errors import ChaosError
from chaos.plan import Schedules
from chaos.point import Access
from chaos.schedule import CRASH, GOES_ON, Choices, ScheduleError, Strategy
from chaos.search import DepthFirst, PartialOrder, Pct, RandomWalk, Stated, strategy
from chaos.search.walk import TRIES

Program = dict[str, list[str]]
"""What each actor does: ``r x`` reads, ``w x`` writes, ``?x`` ends it if x was written."""


def execute(program: Program, choices: Choices | Late, *, tells: bool = True) -> tuple[str, ...]:
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


def execute_strands(program: Program, choices: Choices) -> tuple[str, ...]:
    """The same for actors with several strands: ``a@x``, beside another of the same actor.

    Who was given a name has it until he goes on.
    """
    named: dict[str, str] = {}
    written: dict[str, str] = {}
    left = {strand: list(steps) for strand, steps in program.items()}
    seen: dict[str, list[str]] = {strand: [] for strand in program}
    while ready := [strand for strand, steps in left.items() if steps]:
        actors = [strand.partition("@")[0] for strand in ready]
        for strand, actor in zip(ready, actors, strict=True):
            named.setdefault(strand, strand if actors.count(actor) > 1 else actor)
        names = {named[strand]: strand for strand in ready}
        strand = names[choices.choose(GOES_ON, list(names))]
        del named[strand]
        take(strand, left, seen, written, choices)
    return told(seen)


def execute_with_deaths(program: Program, choices: Choices) -> tuple[str, ...]:
    """The same where one service may die once: that of ``a`` and ``b``, or that of ``c``."""
    written: dict[str, str] = {}
    left = {actor: list(steps) for actor, steps in program.items()}
    seen: dict[str, list[str]] = {actor: [] for actor in program}
    deaths = 1
    while ready := [actor for actor, steps in left.items() if steps]:
        dying = [f"{CRASH}{actor}" for actor in ready] if deaths else []
        taken = choices.choose(GOES_ON, [*ready, *dying])
        if not taken.startswith(CRASH):
            take(taken, left, seen, written, choices)
            continue
        deaths -= 1
        for actor in "ab" if taken[-1] in "ab" else "c":
            if left.get(actor):
                seen[actor].append("dead")
                left[actor].clear()
        choices.schedule.choices[-1].visible = False
    return told(seen)


def take(
    actor: str,
    left: dict[str, list[str]],
    seen: dict[str, list[str]],
    written: dict[str, str],
    choices: Choices,
) -> None:
    step = left[actor].pop(0)
    what = step[-1]
    seen[actor].append(f"{step}={written.get(what, '')}")
    if step[0] == "w":
        written[what] = f"{actor}{len(left[actor])}"
    elif step[0] == "?" and what in written:
        left[actor].clear()
    made = choices.schedule.choices[-1]
    made.visible = False
    made.touched = frozenset({Access(what, writes=step[0] == "w")})


def told(seen: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(f"{actor}: {' '.join(steps)}" for actor, steps in seen.items())


Execute = Callable[[Program, Choices], tuple[str, ...]]


def walk(program: Program, by: Strategy, how: Execute) -> dict[str, tuple[str, ...]]:
    """Every schedule that the strategy executes, and what was seen in it."""
    executed = {}
    while by.begin():
        choices = Choices(by)
        result = how(program, choices)
        by.end(choices.schedule)
        executed[str(choices.schedule)] = result
    return executed


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


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.parametrize("how", [execute_strands, execute_with_deaths])
def test_pruning_misses_no_outcome_of_strands_and_of_deaths(how: Execute, seed: int) -> None:
    program = random_program(random.Random(seed))
    if how is execute_strands:
        names = ["a@x", "a@y", "b"]
        program = dict(zip(names, program.values(), strict=False))
    every = walk(program, DepthFirst(100_000), how)
    few = PartialOrder(100_000)
    executed = walk(program, few, how)
    assert set(executed.values()) == set(every.values())
    assert few._stand_for == len(every)


@pytest.mark.parametrize("seed", range(40))
def test_a_sample_behaves_like_what_it_was_left_out_for(seed: int) -> None:
    program = random_program(random.Random(seed))
    by = PartialOrder(100_000, sample=20)
    executed = explore(program, by)
    alone = explore(program, PartialOrder(100_000))
    assert set(executed.values()) == set(alone.values())
    assert len(executed) == min(len(alone) + 20, by._stand_for)


class Late:
    """Now and then somebody is late, and cannot be chosen where he could be the last time."""

    def __init__(self, choices: Choices, dice: random.Random, reached: set[str]) -> None:
        self.schedule = choices.schedule
        self._choices = choices
        self._dice = dice
        self._reached = reached

    def choose(self, name: str, options: Sequence[str]) -> str:
        there = list(options)
        if str(self.schedule) in self._reached and len(there) > 1 and self._dice.random() < 0.05:
            there.remove(self._dice.choice(there))
        self._reached.add(str(self.schedule))
        return self._choices.choose(name, there)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("kind", ["every", "all"])
def test_who_is_late_now_and_then_costs_rounds_and_hides_nothing(kind: str, seed: int) -> None:
    program = random_program(random.Random(seed))
    every = set(explore(program, DepthFirst(100_000)).values())
    dice, reached = random.Random(seed), set[str]()
    by = strategy(Schedules.model_validate({kind: 100_000}))
    executed = walk(program, by, lambda p, choices: execute(p, Late(choices, dice, reached)))
    assert set(executed.values()) == every or "could not be executed" in by.account


def test_who_never_comes_again_is_told_of_and_the_search_ends() -> None:
    rounds = 0

    def once(program: Program, choices: Choices) -> tuple[str, ...]:
        nonlocal rounds
        rounds += 1
        choices.choose(GOES_ON, ["a", "b"] if rounds == 1 else ["a"])
        return ()

    by = DepthFirst(100)
    walk({}, by, once)
    assert "1 schedules, and those that start like them, could not be executed" in by.account
    assert rounds == 1 + TRIES


def test_who_comes_only_later_is_chosen_then() -> None:
    rounds = 0

    def later(program: Program, choices: Choices) -> tuple[str, ...]:
        nonlocal rounds
        rounds += 1
        choices.choose(GOES_ON, ["a", "b"] if rounds == 1 else ["a", "b", "c"])
        return ()

    assert [*walk({}, DepthFirst(100), later)] == ["a", "b", "c"]


def test_a_schedule_that_ends_before_its_last_choice_is_tried_again() -> None:
    rounds = 0

    def shorter(program: Program, choices: Choices) -> tuple[str, ...]:
        nonlocal rounds
        rounds += 1
        choices.choose(GOES_ON, ["a"])
        if rounds != 2:
            choices.choose(GOES_ON, ["a", "b"])
        return ()

    by = DepthFirst(100)
    walked = walk({}, by, shorter)
    assert rounds == 3
    assert {*walked} == {"a a", "a", "a b"}
    assert by.account == ""


def test_where_somebody_waits_for_what_is_not_told_all_is_run_from_the_start() -> None:
    program = {"a": ["w x", "w x"], "b": ["w y", "w y"]}
    rounds = 0

    def waiting(program: Program, choices: Choices) -> tuple[str, ...]:
        nonlocal rounds
        rounds += 1
        result = execute(program, choices)
        choices.schedule.choices[1].hidden = rounds == 1
        return result

    by = PartialOrder(100)
    assert len(walk(program, by, waiting)) == 6
    assert rounds == 7
    assert "all of 6 schedules were run" in by.account


def test_steps_of_a_later_race_are_not_turned_round_with_those_of_an_earlier_one() -> None:
    def two(program: Program, choices: Choices) -> tuple[str, ...]:
        for race, actors in enumerate(["ab", "cd"]):
            left = list(actors)
            while left:
                left.remove(choices.choose(GOES_ON, left))
                made = choices.schedule.choices[-1]
                made.visible, made.race = False, race
                made.touched = frozenset({Access(made.taken, writes=True)})
        return ()

    by = PartialOrder(100)
    assert len(walk({}, by, two)) == 1
    assert by._stand_for == 4


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
