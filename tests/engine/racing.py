"""Races on the tiny target, for the tests of gates and of what is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chaos.plan import Injection, Location, Plan, Step, inject, step, together
from chaos.point import When
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running

AT_REST = ("parcels-somewhere", "one-owner")
"""Invariants that look only at rest: no order of steps can be told apart by them meanwhile."""


def parcels(*names: str) -> tuple[Step, ...]:
    """Parcels of these names, at x."""
    return tuple(step("parcel.make", name=name, place="x") for name in names)


def claim(parcel: str, label: str, **more: object) -> Step:
    return step("parcel.claim", parcel=parcel, by=label, label=label, allow=(409,))


def send(parcel: str, to: str, label: str = "") -> Step:
    return step("parcel.send", parcel=parcel, to=to, label=label)


def before(point: str, actor: str) -> Location:
    """Where only this actor is struck."""
    return Location(when=When.BEFORE, point=point, actor=actor)


def race(
    name: str,
    *actors: Step,
    points: Sequence[object],
    invariants: tuple[str, ...] | None = AT_REST,
    schedules: object = "all",
    crashes: int = 0,
    more: Sequence[Injection] = (),
    after: Sequence[Step] = (),
    given: Sequence[Step] = parcels("p", "q"),
    settle: float | None = None,
) -> Plan:
    """A plan in which these actors go through the points, everything else as given."""
    racing = inject("race", actors=[a.label for a in actors], points=list(points), crashes=crashes)
    return Plan(
        name=name,
        given=tuple(given),
        during=(together(*actors), *after),
        inject=(racing, *more),
        schedules=schedules,
        invariants=invariants,
        settle=settle,
    )


def passed(tiny: Running, plan: Plan, **how: str) -> list[str]:
    """Run a plan that must pass; the schedules that were executed."""
    outcome = tiny.run(plan, **how)
    assert outcome.verdict is Verdict.PASS, f"{outcome.schedule}: {outcome.reason}"
    return list(tiny.schedules)


def stands_for(outcome: Outcome) -> int:
    """How many schedules a trial says that there are."""
    told = re.search(r"stands? for (?:at most )?(\d+)", outcome.account)
    return int(told[1]) if told else outcome.rounds


def every(plan: Plan) -> Plan:
    """The same with nothing left out."""
    return Plan.model_validate({**plan.model_dump(by_alias=True), "schedules": {"every": 1000}})
