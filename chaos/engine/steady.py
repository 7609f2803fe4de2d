"""Steady states: what ``given`` led to, kept so that it need not be made again.

A steady state is good for every round of every trial that begins with the same steps, under the
same bug switches and invariants; on a target that cannot keep its world there are none.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from chaos.engine.stage import Stage
from chaos.history import Event
from chaos.invariant import Observation
from chaos.language.bind import BoundPlan

KEPT = 8
"""How many are kept: plans that begin alike mostly stand beside each other."""


@dataclass(frozen=True, slots=True)
class Steady:
    """A world at rest, and how it came about."""

    kept: object
    """What the target needs to bring it back."""
    made: Mapping[str, str]
    observations: tuple[Observation, ...]
    events: tuple[Event, ...]
    ended_ns: int

    @classmethod
    def of(cls, stage: Stage, kept: object) -> Steady:
        """Note what has happened on this stage so far, and what the target keeps."""
        return cls(
            kept, dict(stage.scope.made), tuple(stage.observations), tuple(stage.history),
            time.monotonic_ns(),
        )  # fmt: skip

    def resume(self, stage: Stage) -> None:
        """Begin where ``given`` had ended: its history and its world are this stage's too.

        As if it had ended just now, for a timeline is read from its first event on.
        """
        later_ns = time.monotonic_ns() - self.ended_ns
        stage.scope.made.update(self.made)
        stage.observations.extend(
            replace(seen, at_ns=seen.at_ns + later_ns) for seen in self.observations
        )
        stage.resume([replace(event, at_ns=event.at_ns + later_ns) for event in self.events])


@dataclass(slots=True)
class SteadyStates:
    """The last few of one target, by what they were made with."""

    _kept: OrderedDict[Hashable, Steady] = field(default_factory=OrderedDict)

    def of(self, bound: BoundPlan, bugs: frozenset[str]) -> Steady | None:
        """The steady state from which a plan can begin, if there is one."""
        key = _key(bound, bugs)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, bound: BoundPlan, bugs: frozenset[str], steady: Steady) -> None:
        """Have one for the plans that begin as this one does."""
        self._kept[_key(bound, bugs)] = steady
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _key(bound: BoundPlan, bugs: frozenset[str]) -> Hashable:
    steps = tuple(step.model_dump_json() for step in bound.plan.given)
    return steps, bugs, tuple(invariant.name for invariant in bound.invariants)
