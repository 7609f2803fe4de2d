"""The run at a glance: what every renderer says first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from chaos.journal import Group, Journal, Trial, grouped

NO_VERDICT = "NO VERDICT"
"""Word for a trial whose runner died before it could judge."""

SYMBOLS = {"good": "✓", "bad": "✗", "skipped": "○"}
"""How it stands with a trial, or with the whole run → its symbol."""


def state(trial: Trial) -> str:
    """How it stands with the trial: a key of :data:`SYMBOLS`."""
    return "skipped" if trial.skipped else "good" if trial.as_expected else "bad"


def verdict(trial: Trial) -> str:
    """The trial's verdict, or :data:`NO_VERDICT`."""
    return trial.verdict or NO_VERDICT


def reason(trial: Trial) -> str:
    """The verdict in words; never empty."""
    if trial.verdict is None:
        return trial.reason or "The runner died in this trial; the journal shows how far it came."
    if trial.verdict == "PASS":
        return trial.reason or "Every invariant and every expectation held."
    return trial.reason or f"{trial.verdict}, without a reason given."


def expectation(trial: Trial) -> str:
    """What the verdict should be, with the invariants that should be violated."""
    by = f" of {', '.join(trial.expected_violations)}" if trial.expected_violations else ""
    return f"{trial.expected}{by}"


@dataclass(frozen=True, slots=True)
class Summary:
    """All trials of one journal and what was left over after them."""

    trials: tuple[Trial, ...]
    residues: tuple[str, ...]

    @classmethod
    def of(cls, journal: Journal) -> Summary:
        """Read it from a journal."""
        return cls(journal.trials(), journal.residues())

    @property
    def unexpected(self) -> tuple[Trial, ...]:
        """The trials that need a person."""
        return tuple(trial for trial in self.trials if trial.unexpected)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The trials as they are listed: those that a person need not tell apart are one."""
        return grouped(self.trials)

    @property
    def state(self) -> str:
        """Good, when something ran and is as expected; a key of :data:`SYMBOLS`."""
        if not self.trials or self.unexpected or self.residues:
            return "bad"
        return "skipped" if all(trial.skipped for trial in self.trials) else "good"

    @property
    def symbol(self) -> str:
        """The state's symbol."""
        return SYMBOLS[self.state]

    @property
    def headline(self) -> str:
        """The whole run in one sentence."""
        bad, left = len(self.unexpected), len(self.residues)
        skipped = sum(trial.skipped for trial in self.trials)
        count = len(self.trials) - skipped
        if not self.trials:
            text = "No trial was recorded"
        elif not count:
            text = "Nothing was executed"
        elif bad:
            text = (
                f"{bad:,} of {_counted(count, 'verdict')} {'is' if bad == 1 else 'are'} unexpected"
            )
        elif count == 1:
            text = "The one verdict is the expected one"
        else:
            text = f"All {count:,} verdicts are the expected ones"
        text += f"; {_counted(skipped, 'trial')} skipped" if skipped else ""
        return f"{text}; {_counted(left, 'thing') if left else 'nothing'} left over"

    @property
    def verdicts(self) -> tuple[tuple[str, int], ...]:
        """How often each verdict was given, the gravest first."""
        counts = Counter(verdict(trial) for trial in self.trials)
        gravest = (NO_VERDICT, "ERROR", "FAIL", "VACUOUS", "PASS", "SKIPPED")
        return tuple((word, counts[word]) for word in gravest if counts[word])

    @property
    def rounds(self) -> int:
        """Executions of all plans together."""
        return sum(trial.rounds for trial in self.trials)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the systems under test."""
        return tuple(sorted({trial.target for trial in self.trials}))

    @property
    def started(self) -> datetime | None:
        """When the first trial began (UTC); None when there is none."""
        first = min((trial.started_unix for trial in self.trials), default=None)
        return None if first is None else datetime.fromtimestamp(first, UTC).replace(microsecond=0)

    @property
    def duration_s(self) -> float:
        """Seconds from the first start to the last verdict."""
        ends = [trial.ended_ns or trial.started_ns for trial in self.trials]
        starts = [trial.started_ns for trial in self.trials]
        return (max(ends) - min(starts)) / 1e9 if starts else 0.0


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
