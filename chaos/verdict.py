"""Verdicts: what a round, and a whole trial, says about the target."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from chaos.errors import Errored, Failed, Skipped, Vacuous, VerdictError
from chaos.invariant import Violation
from chaos.schedule import Schedule


class Verdict(StrEnum):
    """How a trial ended."""

    PASS = "PASS"
    """The faults struck, the target recovered, every invariant held."""
    FAIL = "FAIL"
    """An invariant did not hold."""
    VACUOUS = "VACUOUS"
    """A fault never struck: nothing is proven."""
    ERROR = "ERROR"
    """The framework or its environment broke: says nothing about the target."""
    SKIPPED = "SKIPPED"
    """The target lacks something that the plan needs: nothing was executed."""


_RAISED: dict[Verdict, type[VerdictError]] = {
    Verdict.FAIL: Failed,
    Verdict.VACUOUS: Vacuous,
    Verdict.ERROR: Errored,
    Verdict.SKIPPED: Skipped,
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a trial's verdict should be; ``violations`` must be among those that a FAIL names.

    None: any that says something about the target.
    """

    verdict: Verdict | None = Verdict.PASS
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round or a trial ended, with the evidence in words."""

    verdict: Verdict
    reason: str = ""
    violations: tuple[Violation, ...] = ()
    rounds: int = 1
    schedule: Schedule = field(default_factory=Schedule)
    """The choices that were made (in the last round, for a trial)."""
    note: str = ""
    """What is to be told beside the verdict, such as what could not be undone."""
    account: str = ""
    """Which schedules were run, and what was left out and why."""

    @property
    def violated(self) -> tuple[str, ...]:
        """Names of the invariants that did not hold, each once."""
        return tuple(dict.fromkeys(violation.invariant for violation in self.violations))

    def meets(self, expected: Expectation) -> bool:
        """Whether this is what was expected."""
        if expected.verdict is None:
            return self.verdict is not Verdict.ERROR
        return self.verdict == expected.verdict and set(expected.violations) <= {*self.violated}

    def raise_for_verdict(self) -> None:
        """Do nothing for PASS.

        Raises:
            Failed: for FAIL.
            Vacuous: for VACUOUS.
            Errored: for ERROR.
            Skipped: for SKIPPED.
        """
        __tracebackhide__ = True
        if self.verdict in _RAISED:
            raise _RAISED[self.verdict](self.reason)
