"""Strikes: the faults that were put in place for one part of a plan, and the wait for them.

A fault that has not struck when nothing is under way any more cannot strike: the plan is vacuous.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaos.engine.stage import Stage
from chaos.errors import NotSettled, Vacuous
from chaos.fault import Strike
from chaos.history import Kind
from chaos.plan import TOGETHER, Injection, Phase, Step
from chaos.point import means

PROBE_S = 0.05
"""How long to wait for a strike before asking whether anything is still under way at all."""


@dataclass(slots=True)
class Injected:
    """A fault that was put in place."""

    injection: Injection
    strike: Strike


class Strikes:
    """The faults of one part of a plan; none in a recovery that is gone through again."""

    def __init__(self, stage: Stage, injected: Sequence[Injected] = ()) -> None:
        self._stage = stage
        self._injected = injected

    def __iter__(self) -> Iterator[Injected]:
        return iter(self._injected)

    def __bool__(self) -> bool:
        return bool(self._injected)

    def finish(self) -> None:
        """Wait until all have struck, and until what they do has ended.

        Raises:
            Vacuous: one cannot strike any more.
        """
        for one in self:
            self.wait_for(one)
        for one in self:
            one.strike.finish(self._stage.deadline_s)

    def wait_for(self, one: Injected) -> None:
        """Wait until this one has struck.

        Raises:
            Vacuous: it cannot strike any more; says what was reached instead.
        """
        if not self._struck(one):
            raise Vacuous(f"{one.strike.missing()} {self._seen()}")

    # ------------------------------------------------------------------ holds

    def wait_for_holds(
        self, step: Step | None = None, number: int = 0, *, last: bool = False
    ) -> None:
        """Do not perform the step that a hold waits for before somebody is held.

        Without a ``reach`` a workload would otherwise run past the window that it is meant for.
        """
        stage = self._stage
        for one in self:
            until = one.strike.holds_until
            if not until or one.strike.struck:
                continue
            if step is None:
                due = until == stage.phase
            else:
                names = {step.label, step.operation, *(a.label for a in step.steps)}
                due = number > 0 and (until in names or (until == stage.phase and last))
            held = due and self._struck(one)
            if step is not None and not held and self._is_own(one, step):
                one.strike.own_step = True

    def let_others_be_held(self, step: Step, actor: str, *, last: bool) -> None:
        """The same for an actor: it does not outrun the others, one of whom is to be held."""
        names = {step.label, step.operation, *([actor] if last else [])} - {""}
        for one in self:
            own = one.injection.at is not None and one.injection.at.actor == actor != ""
            if one.strike.holds_until in names and not one.strike.struck and not own:
                self._struck(one)

    def _is_own(self, one: Injected, step: Step) -> bool:
        """Whether nobody but the very step that a hold waits for can bring it."""
        stage, at = self._stage, one.injection.at
        if at is None or step.operation == TOGETHER or stage.phase is Phase.RECOVER:
            return False
        timer = one.injection.within or stage.target.points[at.point].every_s
        return not timer and one.strike.holds_until in (step.label, step.operation)

    # ------------------------------------------------------------------ the wait

    def _struck(self, one: Injected) -> bool:
        """Wait for a strike as long as anything is under way that could still bring it."""
        acting = self._stage.acting
        me = threading.current_thread()
        acts = me in acting
        acting.discard(me)
        try:
            return self._strikes(one)
        finally:
            if acts:
                acting.add(me)

    def _strikes(self, one: Injected) -> bool:
        stage = self._stage
        began_ns = time.monotonic_ns()
        until = time.monotonic() + stage.deadline_s
        while not one.strike.wait(PROBE_S):
            stage.reactions.raise_error()
            late = time.monotonic() >= until
            if stage.acting and not late:
                continue
            try:
                stage.target.settle(PROBE_S)
            except NotSettled:
                if not late:
                    continue
            if self._comes_round(one, began_ns):
                continue
            stage.controller.catch_up()  # that all is at rest may be known before who was struck
            if one.strike.coming and not late:
                continue
            if not one.strike.wait(0):
                return False
        one.strike.struck = True
        return True

    def _comes_round(self, one: Injected, began_ns: int) -> bool:
        """Whether a timer may still bring a strike, though nothing is under way."""
        stage = self._stage
        waited_s = (time.monotonic_ns() - began_ns) / 1e9
        if waited_s < one.injection.within:
            return True
        at = one.injection.at
        every_s = stage.target.points[at.point].every_s if at is not None else 0.0
        if at is None or not every_s:
            return False
        if waited_s < every_s * (one.strike.calls + 1):  # wherever it stands now
            return True
        # On a busy machine it may be late: until it has come round so often, or is dead.
        rounds = [
            hit
            for hit in stage.reached(at.point)
            if hit.at_ns >= began_ns and means(at.service or "*", hit.service)
        ]
        return len(rounds) < one.strike.calls and waited_s < stage.deadline_s

    def _seen(self) -> str:
        # By the services' own time: two of them may tell of their hits the other way round.
        hits = sorted(self._stage.history.of(Kind.HIT), key=lambda event: event.at_ns)
        seen = dict.fromkeys(f"{event.data['when']} {event.name}" for event in hits)
        if not seen:
            return "No point of the target was reached at all."
        return f"The points that were reached, in order: {', '.join(seen)}."
