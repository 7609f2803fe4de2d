"""What the search leaves out on the reference, compared with every schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import suites
from chaos.engine.case import Case
from chaos.language.loader import load
from chaos.plan import Location, Plan, Schedules, Step, actor, inject, step, together
from chaos.point import When
from chaos.schedule import Choice, Schedule, Strategy
from chaos.verdict import Verdict
from tests.conftest import Running, running
from tests.engine.racing import stands_for

API = Location(when=When.BEFORE, point="instance.get", service="api").model_dump()
EVERY = Schedules.model_validate({"every": 200})


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from running("reference", tmp_path_factory.mktemp("reference") / "journal.sqlite")


def compute(point: str) -> object:
    """Before a point, in the computes only."""
    return Location(when=When.BEFORE, point=point, service="compute-*").model_dump()


VOLUME = (
    step("volume.create", name="data"),
    step("server.create", name="vm"),
    step("volume.attach", server="vm", volume="data", delete_on_termination=True),
)


def race(
    name: str, given: Sequence[Step], *actors: Step, points: Sequence[object], crashes: int = 0
) -> Plan:
    labels = [one.label for one in actors]
    racing = inject("race", actors=labels, points=list(points), crashes=crashes)
    return Plan(name=name, given=tuple(given), during=(together(*actors),), inject=(racing,))


def gone(operation: str, label: str = "", **arguments: object) -> Step:
    """A step that may come too late, or too early."""
    return step(operation, allow=(404, 409), label=label, server="vm", **arguments)


DETACH_THEN_DELETE = race(
    "detach-then-delete",
    VOLUME,
    actor("first", gone("volume.detach", volume="data"), gone("server.delete")),
    gone("server.reboot", "second"),
    points=[compute("bdm.destroy"), "before compute.terminate", "before compute.reboot"],
)
"""The first actor has its client and a cast under way at once."""

LATER = (
    Path(suites.__file__).parent / "delete_while_booting/race-two-deletes-at-later-stages.plan.yaml"
)
DELETES_IN_A_CELL = next(source.plan for source in load(LATER) if "cell" in source.plan.name)


@pytest.mark.timeout(180)
def test_schedules_in_which_one_waits_for_the_lock_of_another_are_counted(
    reference: Running,
) -> None:
    """Who is let go by a lock goes on within the other's step: what it does then counts too."""
    attach = step("volume.attach", server="vm", volume="data", wait="", allow=(404, 409))
    delete = step("server.delete", server="vm", allow=(409,))
    places = ("attachment.create", "compute.attach", "compute.terminate", "port.delete")
    points = [API, *(f"before {place}" for place in places)]
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
    few = reference.run_case(Case(plan))
    all_of_them = reference.run_case(Case(plan, schedules=EVERY))
    assert (few.verdict, all_of_them.verdict) == (Verdict.PASS, Verdict.PASS)
    assert few.rounds < all_of_them.rounds
    assert stands_for(few) == all_of_them.rounds


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_race_of_strands_has_the_same_schedules_every_time(reference: Running) -> None:
    found = set()
    for _ in range(2):
        assert reference.run_case(Case(DETACH_THEN_DELETE, schedules=EVERY)).rounds > 10
        assert any("first@client" in schedule for schedule in reference.schedules)
        found.add(tuple(reference.schedules))
    assert len(found) == 1


# ---------------------------------------------------------------------- what is found


class Onwards(Strategy):
    """Goes on after a schedule that did not pass, in the next trial."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.open: Sequence[Choice] = ()
        self.over = False

    def begin(self) -> bool:
        if self.open:
            self.end(Schedule(list(self.open)))
        self.over = self.over or not self.inner.begin()
        return not self.over

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        self.open = made
        return self.inner.choose(made, name, options)

    def end(self, schedule: Schedule) -> None:
        self.inner.end(schedule)
        self.open = ()


@dataclass(frozen=True, slots=True)
class Continued(Case):
    """A case whose search goes on where it was."""

    by: Strategy | None = None

    def strategy(self) -> Strategy:
        assert self.by is not None
        return self.by


def findings(reference: Running, case: Case) -> dict[str, tuple[str, ...]]:
    """Schedule → what it violates, of all that a search executes."""
    found: dict[str, tuple[str, ...]] = {}

    def note(schedule: str, violated: tuple[str, ...]) -> None:
        assert schedule not in found, f"{schedule} was executed twice"
        found[schedule] = tuple(sorted({*violated}))

    by = Onwards(case.strategy())
    while not by.over:
        outcome = reference.run_case(Continued(case.plan, case.bug, by=by))
        for schedule in reference.schedules[: -1 if outcome.verdict is Verdict.FAIL else None]:
            note(schedule, ())
        if outcome.verdict is Verdict.FAIL:
            note(str(outcome.schedule), outcome.violated)
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_whatever_is_found_by_all_schedules_is_found_by_those_that_are_run(
    reference: Running,
) -> None:
    plan, bug = DELETES_IN_A_CELL, "lp1914777"
    few = findings(reference, Case(plan, bug))
    everything = findings(reference, Case(plan, bug, schedules=EVERY))
    assert {*few} < {*everything}
    assert {*few.values()} == {*everything.values()}
    assert all(few[schedule] == everything[schedule] for schedule in few)
    assert len(Counter(everything.values())) > 1
