"""Random: every choice is a throw of the dice, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from chaos.schedule import Choice, Strategy


class RandomWalk(Strategy):
    """Executes ``rounds`` schedules, each option as likely as the others."""

    def __init__(self, rounds: int, seed: int) -> None:
        self._left = rounds
        self._dice = random.Random(seed)

    def begin(self) -> bool:
        """As often as was asked for."""
        self._left -= 1
        return self._left >= 0

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """Any."""
        return self._dice.choice(options)
