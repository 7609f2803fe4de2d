"""The evidence of a fault that strikes at a point: hits that the agents report."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.fault import Armed, FaultContext, Strike
from chaos.history import Kind
from chaos.plan import Location


class Hitting(Strike):
    """It has struck when its arm has acted ``times`` times; ``word`` is what the history calls it.

    >>> # Location(when="before", point="bdm.destroy", occurrence=5) that was reached four times:
    >>> # "`before bdm.destroy` was reached 4 times, the plan wants the 5th."
    """

    def __init__(
        self, context: FaultContext, arm: Armed, at: Location, word: str, times: int = 1
    ) -> None:
        self.context = context
        self.arm = arm
        self.at = at
        self.word = word
        self.times = times
        self.calls = at.occurrence + times - 1

    def wait(self, deadline_s: float) -> bool:
        """Wait for the last of the hits."""
        return self.arm.wait(deadline_s, number=self.times) is not None

    @property
    def coming(self) -> bool:
        """Whether the last call was let through to be struck: one that dies takes its time."""
        return self.arm.matched >= self.calls and not self._wrong

    def finish(self, deadline_s: float) -> None:
        """Put each hit into the history."""
        for hit in self.arm.hits:
            self.context.tell(
                Kind.FAULT, hit.service, self.word, f"{self.word} {self.at}", pid=hit.pid
            )

    def missing(self) -> str:
        """How far it was from striking, and where the point was looked for and seen."""
        wanted = f"`{self.at}`"
        if self.at.actor:
            wanted += f" while serving `{self.at.actor}`"
        if self.at.service:
            wanted += f" in `{self.at.service}`"
        struck = len(self.arm.hits)
        if struck >= self.times:
            return ""
        told = [] if self.arm.matched else self.seen_elsewhere()
        if self.arm.unwanted:
            how = "returned, and did not raise" if self.at.raised else "raised, and did not return"
            calls = "1 call" if self.arm.unwanted == 1 else f"{self.arm.unwanted} calls"
            told.append(f"{calls} of it {how}.")
        if not self.arm.matched:
            looked = _whereabouts(self.arm.state)
            return " ".join([f"The point {wanted} was never reached ({looked}).", *told])
        reached = f"{wanted} was reached {_times(self.arm.matched)}"
        if self._wrong:
            reached += f", but could not be struck: {'; '.join(self._wrong)}."
        elif self.times > 1:
            reached += f" and struck {_times(struck)}, the plan wants {self.times}."
        else:
            reached += f", the plan wants the {_ordinal(self.calls)}."
        return " ".join([reached, *told])

    @property
    def _wrong(self) -> list[str]:
        return _errors(self.arm.state)

    def seen_elsewhere(self) -> list[str]:
        """Who came to the point, though not as the plan says."""
        hits = self.context.reached(self.at.point)
        if not hits:
            return []
        services = sorted({hit.service for hit in hits})
        actors = sorted({self.context.actor_of(hit) or "nobody's request" for hit in hits})
        parts = dict.fromkeys(self.context.part_of(hit) for hit in hits)
        when = "" if {*parts} == {self.context.phase} else f" during `{'`, `'.join(parts)}`"
        return [
            f"`{self.at.point}` was reached{when} in {', '.join(services)},"
            f" for {', '.join(actors)}."
        ]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else endings.get(number % 10, 'th')}"


def _whereabouts(states: Mapping[str, str]) -> str:
    """Where a point was looked for, from what each service answered."""
    armed = [name for name, state in sorted(states.items()) if state == "armed"]
    pending = [name for name, state in sorted(states.items()) if state == "pending"]
    if armed:
        told = f"it was armed in {', '.join(armed)}"
    elif pending:
        told = (
            f"its module was not imported in {', '.join(pending)}; the module that "
            "`python -m` runs is called `__main__`"
        )
    else:
        told = "it was armed in no service"
    return "; ".join([told, *_errors(states)])


def _errors(states: Mapping[str, str]) -> list[str]:
    """Where the action could not be put in place, or not be taken, and why."""
    return [
        f"{name}: {state}" for name, state in sorted(states.items()) if state.startswith("error")
    ]
