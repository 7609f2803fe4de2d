"""What must hold: pure functions from evidence to violations.

An invariant is *always* (checked at every observation) or *settled* (checked once nothing is in
flight and recovery is done). It yields a sentence for each violation it sees; no sentence means
that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any

from chaos.history import History
from chaos.world import World

STEPS_SUCCEED = "steps-succeed"
"""Built in: every client operation of the plan succeeded, or failed in a way the plan allows."""

SETTLES = "settles"
"""Built in: nothing is queued or in flight by the settle deadline."""

SERVICES_LIVE = "services-live"
"""Built in: no service ends but by a fault of the plan."""

RECOVERABLE = "recoverable"
"""Built in: deleting what the plan made, as its user would, restores the world from before."""

SERVICES_RETURN = "services-return"
"""Built in: every service that is recovered is ready again within its time."""

NO_DEADLOCK = "no-deadlock"
"""Built in: no actors wait for each other for ever."""

ALWAYS_JUDGED = (STEPS_SUCCEED, SETTLES, SERVICES_RETURN, NO_DEADLOCK)
"""Judged whatever invariants a plan names: without them no other has been checked at rest."""

BUILT_IN = {
    STEPS_SUCCEED: "every client operation succeeds, or fails as the plan allows",
    SETTLES: "nothing is queued or in flight by the settle deadline",
    SERVICES_LIVE: "no service ends but by a fault of the plan",
    SERVICES_RETURN: "every service that is recovered is ready again within its time",
    NO_DEADLOCK: "no actors wait for each other for ever",
    RECOVERABLE: "deleting what the plan made brings back the world from before the plan",
}


class Checked(StrEnum):
    """When an invariant is checked."""

    ALWAYS = "always"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Observation:
    """The world at one moment of a round."""

    moment: str
    at_ns: int
    world: World


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an invariant may look at."""

    observations: tuple[Observation, ...]
    history: History

    @property
    def world(self) -> Any:
        """The world now; of the target's own world class."""
        return self.observations[-1].world

    @property
    def before(self) -> Any:
        """The world before the plan."""
        return self.observations[0].world


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold, at which moment, and the sentences that show it."""

    invariant: str
    moment: str
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.invariant} ({self.moment}): {'; '.join(self.evidence)}"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A named check; ``number`` is its place in the published list, 0 when it has none."""

    name: str
    checked: Checked
    check: Callable[[Any], Iterable[str]]
    number: int = 0

    @property
    def summary(self) -> str:
        """First line of the check's docstring."""
        return (self.check.__doc__ or "").strip().partition("\n")[0]

    def violation(self, evidence: Evidence) -> Violation | None:
        """What it finds in the evidence; None when it holds."""
        found = tuple(self.check(evidence))
        return Violation(self.name, evidence.observations[-1].moment, found) if found else None


def invariant(
    name: str, *, checked: str, number: int = 0
) -> Callable[[Callable[[Any], Iterable[str]]], Invariant]:
    """Turn a generator of violations into an invariant.

    >>> @invariant("no-negative-balance", checked="always")
    ... def no_negative_balance(evidence):
    ...     "No account is ever below zero."
    ...     for account in evidence.world.accounts:
    ...         if account.balance < 0:
    ...             yield f"{account.name} is at {account.balance}"
    """

    def wrap(check: Callable[[Any], Iterable[str]]) -> Invariant:
        return Invariant(name, Checked(checked), check, number)

    return wrap


def collect(module: ModuleType) -> Mapping[str, Invariant]:
    """Every invariant that a module defines or imports, by name, in order of definition."""
    return {item.name: item for item in vars(module).values() if isinstance(item, Invariant)}
