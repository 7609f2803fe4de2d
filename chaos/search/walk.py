"""The tree of choices, walked depth first: what was seen of it, and what is still to be executed.

A target is never quite the same twice: somebody may be late, and not be there to be chosen. A round
that cannot go where it was to go has *strayed*: what it found counts, but it stands for no
schedule, and the way is tried again. What cannot be reached after some tries is told.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.errors import ChaosError
from chaos.schedule import Choice, Schedule, Strategy

TRIES = 3
"""How often a way is tried."""


@dataclass(slots=True)
class Node:
    """A state that was reached: what can be chosen there, and what still is to be."""

    options: tuple[str, ...]
    wanted: set[str]
    taken: str
    asleep: dict[str, Choice] = field(default_factory=dict)
    """Options whose schedules were executed from an earlier state, with the step that each does."""
    done: dict[str, Choice] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Options that could not be taken again."""

    @property
    def left(self) -> list[str]:
        """What is to be executed from here yet."""
        over = self.done.keys() | self.asleep.keys() | self.lost
        return [option for option in self.options if option in self.wanted and option not in over]

    def see(self, options: Sequence[str]) -> None:
        """Know of options that were not there the last time: nothing is known of what they do."""
        new = [option for option in options if option not in self.options]
        self.options = (*self.options, *new)
        self.wanted.update(new)

    def do(self, choice: Choice) -> None:
        """Take down what an option did; it may have done something else the last time."""
        known = self.done.get(choice.taken)
        if known is not None:
            known.touch([choice.touched])
            known.visible = known.visible or choice.visible
        else:
            self.done[choice.taken] = choice


class Walk(Strategy):
    """Executes at most ``most`` schedules, each by the way to a :class:`Node` with more to do."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._path: list[Node] = []
        self._begun = False
        self._executed = 0
        self._strayed: int | None = None
        """The step at which this round could not go on as it should."""
        self._tries = 0
        self._lost = 0

    @abstractmethod
    def _node(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> Node:
        """A state that was not reached before."""

    def begin(self) -> bool:
        """Go back to the last state at which something is left to be chosen."""
        self._strayed = None
        if not self._begun:
            self._begun = True
            return True
        while self._path and not self._path[-1].left:
            self._path.pop()
        if not self._path:
            return False
        self._path[-1].taken = self._path[-1].left[0]
        return True

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """As the path says; at a new state as that says."""
        step = len(made)
        if self._strayed is not None:
            return options[0]
        if step == len(self._path):
            self._path.append(self._node(made, name, options))
            return self._path[-1].taken
        node = self._path[step]
        node.see(options)
        if node.taken not in options:
            self._strayed = step
            return options[0]
        return node.taken

    def end(self, schedule: Schedule) -> None:
        """Take down what was done at each state of the path."""
        if self._strayed is None and len(schedule) < len(self._path):
            self._strayed = len(schedule)
        if self._strayed is not None:
            self._tries += 1
            if self._tries == TRIES:
                self._tries = 0
                self._lost += 1
                self._path[-1].lost.add(self._path[-1].taken)
            return
        self._tries = 0
        self._executed += 1
        for node, choice in zip(self._path, schedule, strict=False):
            node.do(choice)

    @property
    def account(self) -> str:
        """What could not be executed."""
        if not self._lost:
            return ""
        return (
            f"{self._lost} schedules, and those that start like them, could not be executed in "
            f"{TRIES} tries: the actors do not always come to the same points"
        )


def too_many(most: int, which: str) -> ChaosError:
    """More schedules of those (``all``, ``every``) than a plan allows."""
    return ChaosError(
        f"there are more than {most} schedules; list fewer points or actors, or say how many "
        "to run: `schedules: 100` for the first so many, `schedules: {random: 100}`, or "
        f"`schedules: {{{which}: {10 * most}}}`"
    )
