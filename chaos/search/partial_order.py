"""Partial-order reduction: of schedules that differ in nothing but steps that commute, one.

Two steps of different actors *conflict* when they touch the same and one of them writes, or when an
observer sees the world change by both (an *always* invariant may tell their order). What each step
touched is known only after it was executed, so the tree of choices grows from what was seen:
dynamic partial-order reduction with source sets and sleep sets, after Abdulla, Aronis, Jonsson,
Sagonas, *Optimal dynamic partial order reduction*, POPL 2014. Where the target does not tell what a
step touched, it conflicts with every other: then every schedule is executed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from chaos.schedule import Choice, Schedule, Strategy
from chaos.search.depth_first import too_many


@dataclass(slots=True)
class _Node:
    """A state that was reached: what could be chosen there, and what still is to be."""

    options: tuple[str, ...]
    asleep: dict[str, Choice]
    """Options whose schedules were executed from an earlier state, with the step that each does."""
    wanted: set[str]
    done: dict[str, Choice] = field(default_factory=dict)
    taken: str = ""

    @property
    def left(self) -> list[str]:
        return [
            option
            for option in self.options
            if option in self.wanted and option not in self.done and option not in self.asleep
        ]


class PartialOrder(Strategy):
    """Executes one schedule of each class of equivalent ones, at most ``most``.

    ``sample`` random schedules are executed after them, as a check that what was left out behaves
    like what was executed.
    """

    def __init__(self, most: int, *, sample: int = 0, seed: int = 0) -> None:
        self._most = most
        self._path: list[_Node] = []
        self._executed = 0
        self._stand_for = 0
        self._redundant = False
        self._repeated = 0
        self._sample = sample
        self._sampled = 0
        self._sampling = False
        self._over = False
        self._dice = random.Random(seed)

    def begin(self) -> bool:
        """Go back to the last state at which something is left to be chosen.

        Raises:
            ChaosError: there are more than ``most`` classes.
        """
        self._redundant = False
        self._over = self._over or not self._back_up()
        if self._over:
            self._sampling = self._sampled < self._sample
            self._sampled += self._sampling
            return self._sampling
        if self._executed + self._repeated == self._most:
            raise too_many(self._most)
        return True

    def _back_up(self) -> bool:
        if not self._path:
            return not self._executed  # the first round; a round without a choice is the only one
        while self._path and not self._path[-1].left:
            self._path.pop()
        if not self._path:
            return False
        self._path[-1].taken = self._path[-1].left[0]
        return True

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """As the path says; at a new state the first option that is not asleep."""
        if self._sampling:
            return self._dice.choice(options)
        step = len(made)
        if step < len(self._path) and self._path[step].taken in options:
            return self._path[step].taken
        del self._path[step:]
        if self._redundant:
            return options[0]
        asleep = self._asleep(made) if step else {}
        awake = [option for option in options if option not in asleep]
        if not awake:
            # This schedule is like one that was executed: it is run to its end, as half a round
            # proves nothing, but neither counted nor varied from here on.
            self._redundant = True
            return options[0]
        taken = awake[0]
        # A choice of another kind is no actor's step: every option is wanted.
        wanted = {taken} if name == GOES_ON else set(options)
        self._path.append(_Node(options, asleep, wanted, taken=taken))
        return taken

    def _asleep(self, made: Sequence[Choice]) -> dict[str, Choice]:
        before, step = self._path[len(made) - 1], made[-1]
        known = {**before.asleep, **before.done}
        return {
            option: other
            for option, other in known.items()
            if option != step.taken and not _conflict(other, step)
        }

    def end(self, schedule: Schedule) -> None:
        """Find the steps whose order could be turned round, and want that to be executed."""
        if self._sampling:
            return
        choices = schedule.choices
        for node, choice in zip(self._path, choices, strict=False):
            node.done[choice.taken] = choice
        before = _happened_before(choices)
        if self._redundant:
            self._repeated += 1
        else:
            self._executed += 1
            self._stand_for += _linear_extensions(choices, before)
        for later in range(len(choices)):
            for earlier in range(later):
                if _race(earlier, later, choices, before):
                    self._want_turned(earlier, later, choices, before)

    def _want_turned(
        self, earlier: int, later: int, choices: Sequence[Choice], before: Sequence[int]
    ) -> None:
        """Source sets: at the state before ``earlier``, one that can begin the turned order."""
        if earlier >= len(self._path):
            return
        node = self._path[earlier]
        apart = [k for k in range(earlier + 1, later) if not before[k] >> earlier & 1]
        turned = [*apart, later]
        first: dict[str, int] = {}
        for k in turned:
            first.setdefault(choices[k].taken, k)
        initials = [
            option
            for option, k in first.items()
            if not any(before[k] >> other & 1 for other in turned if other < k)
        ]
        if node.wanted & set(initials):
            return
        possible = [option for option in initials if option in node.options]
        # Who was not ready there waited for somebody: then any of the others may be the way.
        node.wanted |= set(possible[-1:] or node.options)

    @property
    def account(self) -> str:
        """How many schedules there are, and how many were executed."""
        if self._stand_for <= self._executed:
            return ""
        repeated = f", {self._repeated} more turned out to be like them" if self._repeated else ""
        sampled = f"; {self._sampled} of them were run at random" if self._sampled else ""
        ran = (
            "1 schedule was run, which stands"
            if self._executed == 1
            else (f"{self._executed} schedules were run, which stand")
        )
        return (
            f"{ran} for {self._stand_for}{repeated}: "
            "the others differ only in the order of steps that touch nothing in common"
            f"{sampled}"
        )


GOES_ON = "goes on"
"""The name of the choice which actor goes on; the only one whose options may commute."""


def _conflict(one: Choice, other: Choice) -> bool:
    """Whether the order of two steps can matter."""
    if one.actor == other.actor or one.name != GOES_ON or other.name != GOES_ON:
        return True
    if one.touched is None or other.touched is None or (one.visible and other.visible):
        return True
    return any(mine.conflicts(theirs) for mine in one.touched for theirs in other.touched)


def _happened_before(choices: Sequence[Choice]) -> list[int]:
    """For each step, as bits, those that must come before it in every equivalent schedule."""
    before: list[int] = []
    for later, step in enumerate(choices):
        seen = 0
        for earlier in range(later):
            if _conflict(choices[earlier], step):
                seen |= 1 << earlier | before[earlier]
        before.append(seen)
    return before


def _race(earlier: int, later: int, choices: Sequence[Choice], before: Sequence[int]) -> bool:
    """Whether two conflicting steps are next to each other, and can be turned round."""
    # An actor may be held at several places at once, of which each can go on first.
    if choices[earlier].taken == choices[later].taken or not before[later] >> earlier & 1:
        return False
    between = range(earlier + 1, later)
    return not any(before[k] >> earlier & 1 and before[later] >> k & 1 for k in between)


def _linear_extensions(choices: Sequence[Choice], before: Sequence[int]) -> int:
    """How many schedules are equivalent to this one, itself among them."""
    everything = (1 << len(choices)) - 1

    @cache
    def orders(done: int) -> int:
        if done == everything:
            return 1
        ready = [
            step
            for step in range(len(choices))
            if not done >> step & 1 and before[step] & ~done == 0
        ]
        return sum(orders(done | 1 << step) for step in ready)

    return orders(0)
