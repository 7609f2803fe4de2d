"""Rounds: what the rounds of one plan have in common, and whether together they prove anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.engine.gate import Gate
from chaos.engine.strikes import Strikes
from chaos.errors import Vacuous
from chaos.language.bind import BoundPlan
from chaos.schedule import CRASH, GOES_ON, Choice, Schedule, Strategy, actor_of


@dataclass(slots=True)
class Rounds:
    """The rounds of one plan, with one set of bug switches."""

    bound: BoundPlan
    bugs: frozenset[str]
    strategy: Strategy
    number: int = 0
    """Of the one that is under way: how many there were."""
    _injected: bool = False
    """Whether the schedule ever had a fault strike."""
    _raced: bool = False
    """Whether there ever was a choice between actors."""
    _gated: tuple[str, ...] = ()
    """The places of its races."""
    _passed: set[str] = field(default_factory=set)
    """Those of them at which somebody was held."""

    def note_injected(self, strikes: Strikes) -> None:
        """Note that the schedule had these faults put in place."""
        self._injected = self._injected or bool(strikes)

    def note_struck(self, strikes: Strikes) -> None:
        """Note at which places of a race somebody was held."""
        for one in strikes:
            if isinstance(one.strike, Gate):
                self._gated = tuple(dict.fromkeys([*self._gated, *map(str, one.strike.points)]))
                self._passed |= one.strike.passed

    def note_schedule(self, schedule: Schedule, *, blocked: bool) -> None:
        """Note whether there was a choice between actors, or one of them waited for another."""
        chosen = any(_is_choice_of_actors(choice) for choice in schedule)
        self._raced = self._raced or chosen or blocked

    def check_held(self) -> None:
        """A race at whose points nobody was held need not be gone through again.

        Raises:
            Vacuous: nobody was held at any of its places so far.
        """
        if self._gated and not self._passed:
            self.check_proof(stated=False)

    @property
    def _told(self) -> str:
        return "1 round" if self.number == 1 else f"{self.number} rounds"

    def check_proof(self, *, stated: bool) -> None:
        """Schedules in which nothing struck, or a race without a choice, prove nothing.

        Raises:
            Vacuous: there was nothing else; of ``stated`` schedules it is not asked that they lead
                through every place of a race.
        """
        if not self._injected and self.bound.faults:  # a golden run has none
            raise Vacuous(f"the schedule spared every fault in {self._told}: none ever struck")
        never = [place for place in self._gated if place not in self._passed]
        if never and not stated:
            raise Vacuous(f"no actor was ever held at {', '.join(never)} in {self._told}")
        if self._gated and not self._raced:
            raise Vacuous(
                "there was only one order: the actors never waited at the points at the same time"
            )


def _is_choice_of_actors(choice: Choice) -> bool:
    """Whether one of several actors was chosen: not merely whether somebody dies."""
    actors = {actor_of(option.removeprefix(CRASH)) for option in choice.options}
    return choice.name == GOES_ON and len(actors) > 1
