"""The plans of a sweep: a workload without faults, and with a crash at one passage or at two."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chaos.plan import REACH, Plan, Step
from chaos.sweep.passages import Passage


def golden(plan: Plan, asserting: Collection[str] = ()) -> Plan:
    """What a plan does, without its faults, and without what waits for them or follows them.

    Nothing is asked but what must hold whatever struck. So what only looks, the operations
    ``asserting``, is left out: it would wait in vain for a service that is down.
    """
    waits = frozenset({REACH, *asserting})
    kept = {
        "name": plan.name,
        "title": plan.title,
        "given": plan.given,
        "during": tuple(filter(None, (_without(waits, step) for step in plan.during))),
        "case": "golden",
        "bugs": plan.bugs,
        "invariants": plan.invariants,
        "settle": plan.settle,
        "needs": plan.needs,
    }
    # A plan must have faults; this is none that anybody can write, and proves nothing by itself.
    return plan.model_copy(
        update={**kept, "inject": (), "then": (), "recover": None, "repeat": 1, "scenario": ()}
    )


def crashing(plan: Plan, places: Sequence[Passage]) -> Plan:
    """The golden plan, with a crash at each of these passages."""
    crashes = tuple(place.crash() for place in places)
    # What was cut may not have happened, and then the next step cannot be done.
    update = {"inject": crashes, "case": case_of(places), "tolerant": True}
    return golden(plan).model_copy(update=update)


def case_of(places: Sequence[Passage]) -> str:
    """``before bdm.destroy in compute-host1``: what a report calls it."""
    return "; ".join(map(str, places))


def _without(waits: Collection[str], step: Step) -> Step | None:
    if step.operation in waits:
        return None
    if not step.steps:
        return step
    inner = tuple(filter(None, (_without(waits, one) for one in step.steps)))
    return step.model_copy(update={"steps": inner}) if inner else None
