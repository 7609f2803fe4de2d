"""PCT: random priorities, with few changes, find a bug of small depth with a known probability.

Burckhardt, Kothari, Musuvathi, Nagarakatte: *A randomized scheduler with probabilistic guarantees
of finding bugs*, ASPLOS 2010. With n actors and k steps, a bug that needs d events in one order is
found by a round with a probability of at least 1 / (n · k^(d-1)).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from chaos.schedule import Choice, Schedule, Strategy


class Pct(Strategy):
    """Executes ``rounds`` schedules: always the actor of the highest priority goes on.

    At ``depth`` - 1 steps of each round, chosen at random, who goes on falls to the lowest.
    """

    def __init__(self, rounds: int, depth: int, seed: int) -> None:
        self._left = rounds
        self._depth = depth
        self._dice = random.Random(seed)
        self._steps = 1
        """The most steps that a round has had."""
        self._priorities: dict[str, float] = {}
        self._changes: set[int] = set()

    def begin(self) -> bool:
        """New priorities, as often as was asked for."""
        self._priorities.clear()
        changes = min(self._depth - 1, self._steps)
        self._changes = set(self._dice.sample(range(self._steps), changes))
        self._left -= 1
        return self._left >= 0

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """The one of the highest priority."""
        for option in options:
            self._priorities.setdefault(option, self._dice.random())
        if len(made) in self._changes:
            self._priorities[self._highest(options)] = -self._dice.random()
        return self._highest(options)

    def _highest(self, options: tuple[str, ...]) -> str:
        return max(options, key=lambda option: self._priorities[option])

    def end(self, schedule: Schedule) -> None:
        """Learn how long rounds are."""
        self._steps = max(self._steps, len(schedule))
