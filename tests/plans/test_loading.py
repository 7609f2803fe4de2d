"""Loading plans: every mistake is one line with file, line, the wrong word and the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import PlanError
from chaos.language.loader import find, load, parse, unique
from tests.plans.conftest import Loaded, Told
from tests.plans.system import words

GOOD = """\
plan: good
given:
  - volume.create: {name: disk}
  - server.create: {name: vm, volumes: [disk]}
during:
  - server.delete: {server: vm}
    as: first
  - reach: before build.start
  - together:
      - server.create: {name: one}
        as: left
      - as: right
        steps:
          - server.delete: {server: one}
          - kill: api
inject:
  - at: {before: build.start, service: "compute-*", actor: first}
    do: {delay: {seconds: 0.1}}
  - in: recover
    at: before recover.load
    do: crash
recover:
  - start: compute-*
  - reach: before recover.load
then:
  - together: [{restart: api}, tick]
invariants: [nothing-lost, recoverable]
bugs:
  lp1: [nothing-lost]
"""
DELETE = "server.delete: {server: vm}"
DELAY = "{delay: {seconds: 0.1}}"


def test_a_good_plan_is_bound_to_its_faults_and_invariants(loaded: Loaded) -> None:
    (source,) = loaded(GOOD)
    bound = source.bind(words())
    assert [item.name for item in bound.invariants] == ["nothing-lost"]
    assert [type(fault).__name__ for _, fault in bound.faults] == ["Delay", "Crash"]
    assert bound.missing == ()


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        # fields
        ("during:", "durng:", "5: there is no field `durng`; did you mean `during`?"),
        ("given:", "givn:", "2: there is no field `givn`; did you mean `given`?"),
        ("actor: first}", "actr: first}", "17: there is no field `actr`; did you mean `actor`?"),
        ("  - in: recover", "  - inn: recover", "19: there is no field `inn`"),
        ("plan: good", "plan: Not Good", "1: `plan`: may have only a-z, 0-9"),
        ("[nothing-lost, recoverable]", "nothing-lost", "27: `invariants`: must be a list"),
        ("before: build.start", "befor: build.start",
         "17: `at`: there is no field `befor`; did you mean `before`?"),
        ("at: before recover", "at: befor recover",
         "20: `at`: `befor recover.load` is no location; did you mean `before`?"),
        ("service: \"compute-*\"", "service: api",
         "17: `build.start` is never reached in `api`: it lies in `compute-host1`, "
         "`compute-host2`"),
        ("bugs:", "settle: 1.0e-300\nbugs:", "28: `settle`: must be greater than or equal to"),
        ("bugs:", "settle: true\nbugs:", "28: `settle`: must be a number, not `true`"),
        ("bugs:", "repeat: 1.5\nbugs:", "28: `repeat`: must be a whole number, not `1.5`"),
        ("bugs:", "schedules: {randm: 3}\nbugs:", "28: there is no field `randm`; did you mean"),
        ("bugs:", "schedules: {pct: 3, every: 3}\nbugs:", "28: `schedules`: give exactly one of"),
        # words of the target
        ("volume.create:", "volume.creat:",
         "3: target `small` has no operation `volume.creat`; did you mean `volume.create`"),
        ("before: build.start", "before: build.strt",
         "17: target `small` has no point `build.strt`; did you mean `build.start`"),
        ('"compute-*"', "compte-*", "17: target `small` has no service `compte-*`; did you"),
        ("start: compute-*", "start: apo", "23: target `small` has no service `apo`; did you mean"),
        ("kill: api", "kill: apo", "15: target `small` has no service `apo`; did you mean `api`?"),
        (DELETE, "server.move: {server: vm, host: apo}", "6: target `small` has no service `apo`"),
        ("{delay:", "{dely:", "18: there is no fault `dely`; did you mean `delay`?"),
        ("[nothing-lost, recov", "[nothing-lst, recov",
         "27: there is no invariant `nothing-lst`; did you mean `nothing-lost`"),
        ("lp1: [nothing-lost]", "lp1: [nothing-lst]", "29: there is no invariant `nothing-lst`"),
        ("lp1: [nothing-lost]", "lp1: []", "29: name the invariants that must see this bug"),
        # words of the plan
        ("actor: first", "actor: frist",
         "17: no step in `during` is called `frist`; did you mean `first`"),
        (DELAY, "{pause: {until: frist}}", "18: `during` has no step `frist`; did you mean"),
        ("reach: before build.start", "reach: before build.claim",
         "8: nothing is injected at `before build.claim` in `during`; did you mean `before"),
        ("  - reach: before recover.load", "  - reach: before build.start",
         "24: nothing is injected at `before build.start` in `recover`; choose one of `before re"),
        ("        as: left", "        as: right", "12: two steps are called `right`"),
        # built-in steps, and where they stand
        ("volume.create: {name: disk}", "reach: before build.start",
         "3: `reach` cannot stand in `given`"),
        ("volume.create: {name: disk}", "together: [tick, tick]",
         "3: `together` cannot stand in `given`"),
        ("volume.create: {name: disk}", "kill: api", "3: `kill` cannot stand in `given`"),
        ("kill: api", "together: [tick, tick]", "15: `together` cannot stand inside `steps`"),
        ("- kill: api", "- steps: [tick]", "15: `steps` cannot stand inside `steps`"),
        (DELETE, "steps: [tick]", "6: `steps` cannot stand in `during`"),
        ("[{restart: api}, tick]", "[tick]", "26: `together` needs at least two actors"),
        ("[{restart: api}, tick]", "[tick, {steps: []}]", "26: `steps` must not be empty"),
        ("[{restart: api}, tick]", "[tick, tick]\n    as: both", "27: `together` takes no `as`"),
        ("- kill: api", "- kill: api\n            allow: [404]", "16: `kill` takes no `allow`"),
        ("kill: api", "kill: [api]", '15: `kill`: must be a word, not `["api"]`'),
        ("reach: before build.start", "reach: {before: x}", "8: `reach`: must be a word, not `{"),
        ("start: compute-*", "strat: compute-*", "23: `recover`: `strat` takes its arguments as"),
        # arguments of operations
        ("name: disk", "nam: disk", "3: `volume.create` has no argument `nam`; did you mean"),
        (DELETE, "server.delete: {}", "6: `server.delete` needs the argument `server`"),
        ("kill: api", "server.delete", "15: `server.delete` needs the argument `server`"),
        (DELETE, "server.delete: vm", "6: `during`: `server.delete` takes its arguments as"),
        ("name: one", "name: [one]", '10: `name`: must be a word, not `["one"]`'),
        ("name: one", "name: 1", "10: `name`: must be a word, not `1`"),
        ("name: one", "name: one, delete_on_termination: maybe",
         "10: `delete_on_termination`: must be `true` or `false`, not `maybe`"),
        ("name: one", "name: one, delete_on_termination: 1",
         "10: `delete_on_termination`: must be `true` or `false`, not `1`"),
        ("name: one", "name: one, count: 1.5", "10: `count`: must be a whole number, not `1.5`"),
        ("name: one", "name: one, count: true", "10: `count`: must be a whole number, not `true`"),
        ("name: disk", "name: disk, size: true", "3: `size`: must be a number, not `true`"),
        ("name: disk", "name: disk, size: '1'", "3: `size`: must be a number, not `1`"),
        ("volumes: [disk]", "volumes: disk", "4: `volumes`: must be a list"),
        (DELETE, "server.group: {apart: some}", "6: `apart`: must be 'all' or a list"),
        ("    as: first", "    as: first\n    allow: [true]", "8: `allow`: must be a whole number"),
        # arguments of faults
        ("seconds:", "secnds:", "18: `delay` has no argument `secnds`; did you mean `seconds`?"),
        ("{seconds: 0.1}", "{}", "18: `delay` needs the argument `seconds`"),
        (DELAY, "delay", "18: `delay` needs the argument `seconds`"),
        (DELAY, "{delay: soon}", "18: the arguments must be a mapping"),
        ("seconds: 0.1", "seconds: soon", "18: `seconds`: must be a number, not `soon`"),
        ("seconds: 0.1", "seconds: true", "18: `seconds`: must be a number, not `true`"),
        ("seconds: 0.1", "seconds: 0", "18: `seconds`: must be greater than 0, not `0`"),
        (DELAY, "{kill: {service: apo}}", "18: target `small` has no service `apo`"),
        ("    at: before recover.load\n", "", "20: the fault `crash` needs an `at`"),
        (DELAY, "{race: {actors: [left, right], points: [before build.start]}}",
         "18: the fault `race` takes no `at`"),
        ("reach: before build.start", "reach: [", "9: not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_the_nearest_word(
    told: Told, right: str, wrong: str, expected: str
) -> None:
    assert right in GOOD
    assert f"x.plan.yaml:{expected}" in told(GOOD.replace(right, wrong, 1))


def test_every_mistake_of_a_plan_is_told_at_once(told: Told) -> None:
    text = GOOD.replace("[nothing-lost, rec", "[nothing, rec").replace("{delay:", "{dely:")
    assert [line.split(":")[1] for line in told(text).splitlines()] == ["18", "27"]


RACE = """\
plan: race
during:
  - tick
  - {tick: {}, as: alone}
  - together: [{tick: {}, as: one}, {tick: {}, as: two}]
  - together: [{tick: {}, as: three}, {tick: {}, as: four}]
inject:
  - do: {race: {actors: [one, two], points: [{before: build.start, service: compute-host1}]}}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("[one, two]", "[one, tow]", "8: no step in `during` is called `tow`; did you mean `two`?"),
        ("[one, two]", "[one, one]", "8: `one` is listed twice"),
        ("[one, two]", "[one, alone]", "8: `one` and `alone` never act at the same time"),
        ("[one, two]", "[one, three]", "8: `one` and `three` never act at the same time"),
        ("[one, two]", "[one]", "8: `actors` must have at least 2"),
        ("service: compute-host1", "service: apo", "8: target `small` has no service `apo`"),
        (
            "before: build.start",
            "before: build.strt",
            "8: target `small` has no point `build.strt`",
        ),
    ],
)
def test_actors_that_race_are_those_of_one_together(
    told: Told, loaded: Loaded, right: str, wrong: str, expected: str
) -> None:
    loaded(RACE)
    assert f"x.plan.yaml:{expected}" in told(RACE.replace(right, wrong))


def test_a_fault_waits_in_a_phase_in_which_something_happens(told: Told) -> None:
    text = "plan: x\nduring: [tick]\ninject: [{in: then, at: before build.start, do: crash}]\n"
    assert "x.plan.yaml:3: nothing happens in `then`: give it steps" in told(text)


def test_a_fault_in_the_recovery_may_strike_the_actor_of_an_earlier_phase(loaded: Loaded) -> None:
    loaded(GOOD.replace("at: before recover.load", "at: {before: recover.load, actor: first}"))


def test_a_file_may_hold_several_plans(tmp_path: Path) -> None:
    path = tmp_path / "two.plan.yaml"
    path.write_text(GOOD + "---\n" + GOOD.replace("plan: good", "plan: better"))
    assert [(source.plan.name, source.line) for source in load(path)] == [
        ("good", 1),
        ("better", 31),
    ]


def test_two_plans_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    first, second = tmp_path / "a.plan.yaml", tmp_path / "b.plan.yaml"
    first.write_text(GOOD)
    second.write_text("---\n" + GOOD.replace("plan: good", "plan: other") + "---\n" + GOOD)
    with pytest.raises(PlanError, match=r"b.plan.yaml:32: .* plan `good`, at .*a.plan.yaml:1;"):
        unique(source for path in find([tmp_path]) for source in load(path))


def test_plans_of_different_names_are_loaded_together(tmp_path: Path) -> None:
    sources = [parse(GOOD, tmp_path / "a"), parse(GOOD.replace("plan: good", "plan: b"), tmp_path)]
    assert unique(sources) == sources


def test_a_file_that_is_named_twice_is_found_once(tmp_path: Path) -> None:
    path = tmp_path / "x.plan.yaml"
    path.write_text(GOOD)
    assert find([tmp_path, path, tmp_path / ".." / tmp_path.name / "x.plan.yaml"]) == [path]


def test_a_folder_without_plans_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no \*\.plan\.yaml"):
        find([tmp_path])
