"""The plans of a sweep: a workload without faults, and with a crash at one passage or at two."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from chaos.plan import REACH, TOGETHER, Plan, Step
from chaos.sweep.passages import Passage


def golden(plan: Plan, asserting: Collection[str] = (), striking: Collection[str] = ()) -> Plan:
    """What a plan does, without its faults, and without what waits for them or follows them.

    Nothing is asked but what must hold whatever struck. So what only looks, the operations
    ``asserting``, is left out: it would wait in vain for a service that is down. What strikes by
    itself, the operations ``striking``, is left out after a ``reach``: where the fault is not, it
    would strike anywhere.
    """
    waits, anywhere = frozenset({REACH, *asserting}), frozenset(striking)
    kept = {
        "name": plan.name,
        "title": plan.title,
        "given": plan.given,
        "during": tuple(_kept(plan.during, waits, anywhere)),
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


def _kept(steps: Sequence[Step], waits: frozenset[str], anywhere: frozenset[str]) -> Iterator[Step]:
    """The steps without ``waits``, and after a ``reach`` without ``anywhere``."""
    left_out = waits
    for step in steps:
        if step.operation == REACH:
            left_out |= anywhere
        if step.operation in left_out:
            continue
        inner = tuple(_kept(step.steps, left_out, anywhere)) if step.steps else ()
        if step.operation == TOGETHER:  # each of them acts by itself
            inner = tuple(chain(*(_kept([one], left_out, anywhere) for one in step.steps)))
        if inner or not step.steps:
            yield step.model_copy(update={"steps": inner})
