"""The evidence of a fault that strikes at a point: hits that the agents report."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.fault import Armed, FaultContext, Strike
from chaos.history import Kind
from chaos.plan import Location
from chaos.point import When


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

    def wait(self, deadline_s: float) -> bool:
        """Wait for the last of the hits."""
        return self.arm.wait(deadline_s, number=self.times) is not None

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
        struck, last = len(self.arm.hits), self.at.occurrence + self.times - 1
        if struck >= self.times:
            return ""
        if self.arm.matched:
            reached = f"{wanted} was reached {_times(self.arm.matched)}"
            if self.times > 1:
                return f"{reached} and struck {_times(struck)}, the plan wants {self.times}."
            return f"{reached}, the plan wants the {_ordinal(last)}."
        return " ".join(
            [f"The point {wanted} was never reached ({_whereabouts(self.arm.state)}).",
             *self._seen_elsewhere()]
        )  # fmt: skip

    def _seen_elsewhere(self) -> list[str]:
        """Who came to the point, though not as the plan says."""
        hits = self.context.reached(self.at.point)
        if not hits:
            return []
        services = sorted({hit.service for hit in hits})
        actors = sorted({self.context.actor_of(hit) or "nobody's request" for hit in hits})
        told = [f"`{self.at.point}` was reached in {', '.join(services)}, for {', '.join(actors)}."]
        if self.at.when is When.AFTER:
            how = "raised" if self.at.raised else "returned"
            told.append(f"No call of it {how}.")
        return told


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
    wrong = [f"{name}: {states[name]}" for name in sorted(states.keys() - {*armed, *pending})]
    if armed:
        told = f"it was armed in {', '.join(armed)}"
    elif pending:
        told = (
            f"its module was not imported in {', '.join(pending)}; the module that "
            "`python -m` runs is called `__main__`"
        )
    else:
        told = "it was armed in no service"
    return "; ".join([told, *wrong])
