"""A case: one thing to run, and the verdict that is expected of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos.errors import PlanError
from chaos.language.bind import BoundPlan, bind
from chaos.language.catalogue import Vocabulary
from chaos.language.expectation import expectation, skip_reason
from chaos.language.loader import Source
from chaos.plan import Plan, Schedules
from chaos.schedule import Schedule, Strategy
from chaos.search import strategy
from chaos.verdict import Expectation


@dataclass(frozen=True, slots=True)
class Case:
    """A plan (of a matrix, one case of it), with one set of bug switches.

    ``schedules`` are executed instead of the plan's own; ``sample`` so many random ones beside
    those of a search that leaves some out.
    """

    plan: Plan
    bug: str = ""
    source: Source | None = None
    schedules: Schedules | None = None
    sample: int = 0
    command: str = ""
    """The shell command that runs a plan written in Python again; one from a file has its own."""
    is_open: bool = False
    """Whether the switch is none of the plan's: what comes of it is to be found out."""

    @property
    def name(self) -> str:
        """``kill-compute-mid-reboot``, ``kill-compute-mid-reboot[lp1072751]``."""
        return f"{self.plan.title_of_case}[{self.bug}]" if self.bug else self.plan.title_of_case

    @property
    def target(self) -> str:
        """The target that the plan names; '' when it names none."""
        return self.source.target if self.source else self.plan.target

    def expected(self, words: Vocabulary) -> Expectation:
        """PASS; a FAIL that names the defect with a bug switch on, or where the target has it."""
        if self.is_open:
            return Expectation(None)
        return expectation(self.plan, self.bug, words.target)

    def strategy(self) -> Strategy:
        """What answers the choices that the plan leaves open."""
        return strategy(self.schedules or self.plan.schedules, sample=self.sample)

    def bind(self, words: Vocabulary) -> BoundPlan:
        """Look up every word of the plan; errors name the line when it came from a file.

        Raises:
            PlanError: the plan uses a word that the target does not have.
        """
        return self.source.bind(words) if self.source else bind(self.plan, words)

    def skipped(self, words: Vocabulary, bound: BoundPlan) -> str:
        """Why this target cannot run it; '' when it can."""
        lacks = skip_reason(self.bug, words)
        return "\n".join(filter(None, [*bound.missing, lacks]))

    def reproduce(self, target: str, schedule: Schedule | None = None) -> str:
        """The shell command that runs it again, from the folder in which it was run."""
        if self.source is None:
            return self.command
        words = ["chaos", "run", shown(self.source.path), "--plan", self.plan.name]
        words += ["--case", self.plan.case] if self.plan.case else []
        words += ["--target", target] if target != self.target else []
        words += ["--bug", self.bug] if self.bug else ["--no-bugs"]
        words += ["--schedule", str(schedule)] if schedule else []
        return shlex.join(words)


def cases(source: Source, *, bugs: bool = True) -> list[Case]:
    """A plan by itself and, with ``bugs``, once with each of its bug switches."""
    plan = source.plan
    switches = ["", *plan.bugs, *plan.withstands] if bugs else [""]
    return [Case(source.plan, bug, source) for bug in switches]


def check_switches(wanted: Iterable[str], chosen: Iterable[Case]) -> None:
    """Make sure that every bug switch that was asked for means something to some plan.

    Raises:
        PlanError: one is in no plan: asking for it would run nothing, and look well.
    """
    from chaos.errors import nearest

    known = {bug for case in chosen for bug in (*case.plan.bugs, *case.plan.withstands)}
    for bug in wanted:
        if bug not in known:
            raise PlanError(f"no plan has the bug switch `{bug}`; {nearest(bug, known)}")


def shown(path: Path) -> str:
    """A path as a person in this folder would write it."""
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd()) if inside else path)
