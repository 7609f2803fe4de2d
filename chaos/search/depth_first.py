"""Depth first: the tree of choices is walked, each schedule once, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.errors import ChaosError
from chaos.schedule import Choice, Schedule, Strategy


class DepthFirst(Strategy):
    """Executes the first ``most`` schedules; ``all_of_them`` refuses to leave any out.

    It needs no model of the target: what can be chosen is seen while it runs.
    """

    def __init__(self, most: int, *, all_of_them: bool = False) -> None:
        self._most = most
        self._all = all_of_them
        self._executed = 0
        self._start: tuple[str, ...] | None = ()
        """How the next schedule starts; None: all were executed."""

    def begin(self) -> bool:
        """The next leaf of the tree.

        Raises:
            ChaosError: there are more than ``most``, and all were wanted.
        """
        if self._start is None:
            return False
        if self._executed == self._most:
            if self._all:
                raise too_many(self._most)
            return False
        self._executed += 1
        return True

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """As the schedule is to start, then the first option."""
        assert self._start is not None
        planned = self._start[len(made) :]
        return planned[0] if planned and planned[0] in options else options[0]

    def end(self, schedule: Schedule) -> None:
        """Find the last choice at which another option is left."""
        self._start = None
        taken = [choice.taken for choice in schedule]
        for step in reversed(range(len(taken))):
            options = schedule.choices[step].options
            place = options.index(taken[step]) + 1
            if place < len(options):
                self._start = (*taken[:step], options[place])
                return


def too_many(most: int) -> ChaosError:
    """More schedules than a plan allows."""
    return ChaosError(
        f"there are more than {most} schedules; list fewer points or actors, or say how many "
        "to run: `schedules: 100` for the first so many, `schedules: {random: 100}`, or "
        f"`schedules: {{all: {10 * most}}}`"
    )
