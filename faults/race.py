"""race: several actors go through points one at a time, in every order that makes a difference.

Each actor (of one ``together``) stops at each of the listed points until all that it causes has
ended. When all are held or have ended, the schedule says who goes on to its next point::

    inject:
      - do:
          race:
            actors: [first, second]
            points: [before build_request.get, before build_request.destroy]

Which orders are executed is the plan's ``schedules``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from chaos.fault import Fault, FaultContext, Strike
from chaos.plan import Location
from chaos.words import Word


class Race(Fault):
    """Several actors go through the listed points, one at a time, as the schedule says."""

    located: ClassVar[bool | None] = False

    actors: tuple[Annotated[str, Word("actor")], ...] = Field(
        min_length=2, description="labels of the actors of one `together`"
    )
    points: tuple[Location, ...] = Field(min_length=1, description="where each of them is held")
    crashes: int = Field(
        0, ge=0, le=3,
        description="so many times, wherever an actor is held, its service may die there instead",
    )  # fmt: skip

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Hold every actor at every point."""
        return context.gate(self.actors, self.points, self.crashes)
