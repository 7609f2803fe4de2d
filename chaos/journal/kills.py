"""The kill matrix: of each bug switch, which plans caught it, by what, and which stayed green."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chaos.journal.journal import Trial
from chaos.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Kill:
    """One plan with one bug switch on, run some times; ``bug`` is '' for the plan by itself."""

    bug: str
    plan: str
    trials: tuple[Trial, ...]

    @property
    def own(self) -> bool:
        """Whether the plan says that it catches the bug."""
        return bool(self.trials[0].expected_violations)

    @property
    def caught(self) -> int:
        """In how many runs it was caught, by the invariants that the plan names if it does."""
        return sum(map(_is_caught, self.trials))

    @property
    def first(self) -> int:
        """After how many runs it was caught for the first time; 0: never."""
        runs = (number for number, trial in enumerate(self.trials, 1) if _is_caught(trial))
        return next(runs, 0)

    @property
    def rounds(self) -> int:
        """How often the plan was executed in all of these runs."""
        return sum(trial.rounds for trial in self.trials)

    @property
    def violated(self) -> tuple[str, ...]:
        """The invariants that saw it, the most frequent first."""
        seen = Counter(name for trial in self.trials for name in trial.violated)
        return tuple(name for name, _ in seen.most_common())

    @property
    def verdicts(self) -> tuple[tuple[str, int], ...]:
        """Each verdict, and how often it was given."""
        return tuple(Counter(trial.verdict or "none" for trial in self.trials).most_common())


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One bug switch with all plans that were run with it on."""

    bug: str
    kills: tuple[Kill, ...]

    @property
    def catching(self) -> tuple[Kill, ...]:
        """Those that caught it at least once, its own first."""
        return tuple(sorted((k for k in self.kills if k.caught), key=lambda kill: not kill.own))

    @property
    def missing(self) -> tuple[Kill, ...]:
        """Its own that did not catch it every time."""
        return tuple(k for k in self.kills if k.own and k.caught < len(k.trials))

    @property
    def green(self) -> tuple[Kill, ...]:
        """Those that passed every time."""
        return tuple(k for k in self.kills if {name for name, _ in k.verdicts} == {Verdict.PASS})

    @property
    def is_caught(self) -> bool:
        """Whether it has plans of its own, and each of them caught it every time."""
        return any(kill.own for kill in self.kills) and not self.missing


def kills(trials: Iterable[Trial]) -> tuple[Kill, ...]:
    """What the trials say of each plan with each switch, and with none, in order of the first."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.verdict != Verdict.SKIPPED:
            found.setdefault((trial.bug, trial.title_of_case), []).append(trial)
    return tuple(Kill(bug, plan, tuple(each)) for (bug, plan), each in found.items())


def exhibits(trials: Iterable[Trial]) -> tuple[Exhibit, ...]:
    """What the trials say of each bug switch that was on in some of them, by name."""
    found: dict[str, list[Kill]] = {}
    for kill in kills(trials):
        if kill.bug:
            found.setdefault(kill.bug, []).append(kill)
    return tuple(Exhibit(bug, tuple(found[bug])) for bug in sorted(found))


def _is_caught(trial: Trial) -> bool:
    named = set(trial.expected_violations) <= set(trial.violated)
    return trial.verdict == Verdict.FAIL and named
