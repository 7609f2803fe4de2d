"""Very many trials in a few lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.journal.journal import Trial


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that a person need not tell apart, or one that a person must look at.

    Those of one kind (:attr:`Trial.kind`) that ended alike, as expected or SKIPPED, stand together;
    each of the others stands by itself.
    """

    trials: tuple[Trial, ...]

    @property
    def first(self) -> Trial:
        """The one that is shown for all."""
        return self.trials[0]

    @property
    def rounds(self) -> int:
        """How many times the plan was executed."""
        return sum(trial.rounds for trial in self.trials)

    @property
    def duration_s(self) -> float | None:
        """Seconds that all took together; None when the runner died in it."""
        took = [trial.duration_s for trial in self.trials if trial.duration_s is not None]
        return sum(took) if took else None

    def __len__(self) -> int:
        return len(self.trials)


def grouped(trials: Iterable[Trial]) -> tuple[Group, ...]:
    """The groups of these trials, in order of their first ones."""
    found: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        # What is told beside the verdict is told; so is each reason for which nothing was done.
        told = (trial.verdict, trial.note, trial.reason if trial.skipped else "")
        key = (trial.id,) if trial.unexpected else (trial.kind, *told)
        found.setdefault(key, []).append(trial)
    return tuple(Group(tuple(each)) for each in found.values())
