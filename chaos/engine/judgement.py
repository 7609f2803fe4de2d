"""Judgement: what a round's history and its findings come to."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace

from chaos.engine.stage import Stage
from chaos.errors import ChaosError, Vacuous
from chaos.history import Done, Event, History, Kind
from chaos.invariant import ALWAYS_JUDGED, SERVICES_LIVE, STEPS_SUCCEED, Violation
from chaos.plan import Phase
from chaos.verdict import Outcome, Verdict


def judge(stage: Stage) -> Outcome:
    """PASS, or what did not hold of that which the plan judges."""
    deaths = tuple(unexplained_deaths(stage.history))
    stage.violate(Violation(SERVICES_LIVE, "round", deaths) if deaths else None)
    wanted = stage.plan.invariants
    judged = [
        v for v in stage.violations
        if (wanted is None or v.invariant in (*wanted, *ALWAYS_JUDGED))
        and not (stage.plan.tolerant and v.invariant == STEPS_SUCCEED)
    ]  # fmt: skip
    # A step that failed is mostly a consequence: what it follows from is told first.
    violations = tuple(sorted(judged, key=lambda v: v.invariant == STEPS_SUCCEED))
    if violations:
        reason = "\n".join(map(str, violations))
        return Outcome(Verdict.FAIL, reason, violations)
    return Outcome(Verdict.PASS)


def judge_cut_short(stage: Stage, error: Exception) -> Outcome:
    """What was found before a round came to nothing is told all the same.

    What an invariant has found stands, whether or not the faults struck; that a step failed
    may well be why they did not.
    """
    outcome = broken(error)
    found = judge(stage)
    if outcome.verdict is Verdict.VACUOUS and {*found.violated} - {STEPS_SUCCEED}:
        return replace(found, reason=f"{found.reason}\nAfter that: {outcome.reason}")
    if stage.violations:
        told = "; ".join(map(str, stage.violations))
        return replace(outcome, reason=f"{outcome.reason}\nBefore that: {told}")
    return outcome


def broken(error: Exception) -> Outcome:
    """What an exception says: a verdict of its own, one of our messages, or a defect of ours."""
    if isinstance(error, Vacuous):
        return Outcome(Verdict.VACUOUS, str(error))
    if isinstance(error, ChaosError):
        return Outcome(Verdict.ERROR, f"{type(error).__name__}: {error}")
    return Outcome(Verdict.ERROR, "".join(traceback.format_exception(error)))


def unexplained_deaths(history: History) -> Iterator[str]:
    """A sentence for each service that ended though nobody killed it."""
    explained: set[str] = set()
    starting: set[str] = set()
    for event in history.of(Kind.HIT, Kind.SERVICE):
        crashed = event.data.get("action") == "crash" and "worker" not in event.data
        if event.name == "killed" or crashed:
            explained.add(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "started":
            starting.add(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "ready":
            starting.discard(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "exited":
            # That one did not come up is told by who started it.
            if event.lane not in explained | starting:
                how = event.data.get("signal") or event.data.get("code")
                yield f"{event.lane} ended by itself ({how}); see its log"
            explained.discard(event.lane)
            starting.discard(event.lane)


def check_served(stage: Stage) -> None:
    """A workload of which nothing reached the target proves nothing.

    Raises:
        Vacuous: every operation of it was cut off before anything was done for it.
    """
    stage.controller.catch_up()  # an answer may be here before what the service told meanwhile
    tried = [done for done in stage.history.operations if _is_of_workload(stage, done)]
    if tried and all(done.outcome is Kind.INDETERMINATE for done in tried):
        timers = {alias for alias, point in stage.target.points.items() if point.every_s}
        hits = [hit for hit in stage.history.of(Kind.HIT) if hit.name not in timers]
        reads = bool(stage.target.request_id_reader)
        if not any(_served(done, hit, reads=reads) for done in tried for hit in hits):
            names = ", ".join(dict.fromkeys(done.operation for done in tried))
            raise Vacuous(
                f"Every operation of `during` ({names}) was cut off, and reached no point of "
                "the target: nothing was done during the fault."
            )


def _is_of_workload(stage: Stage, done: Done) -> bool:
    armed = [e.at_ns for e in stage.history.of(Kind.STEP) if e.name == Phase.DURING.value]
    return not done.asserts and bool(armed) and done.invoked_ns >= armed[-1]


def _served(done: Done, hit: Event, *, reads: bool) -> bool:
    """Whether a hit shows that something was done for an operation."""
    if reads:
        return bool(hit.data.get("request") == done.request)
    return done.invoked_ns <= hit.at_ns and (done.ended_ns is None or hit.at_ns <= done.ended_ns)
