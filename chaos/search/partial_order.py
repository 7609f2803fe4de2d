"""Partial-order reduction: of schedules that differ in nothing but steps that commute, one.

Two steps of different actors *conflict* when they touch the same and one of them writes, or when an
observer sees the world change by both (an *always* invariant may tell their order). What each step
touched is known only after it was executed, so the tree of choices grows from what was seen:
dynamic partial-order reduction with source sets and sleep sets, after Abdulla, Aronis, Jonsson,
Sagonas, *Optimal dynamic partial order reduction*, POPL 2014. Where it is not known what a step
touched, it conflicts with every other: if that is so of all, every schedule is executed.

The theory wants that no step takes another's possibility away. A death does, so it is tried
wherever it can be, and conflicts with everything. The strands of one actor are one program to it
(``a@desk`` and ``a@carrier`` conflict); so wherever one is tried, the others are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from chaos.schedule import CRASH, GOES_ON, Choice, Schedule, actor_of
from chaos.search.walk import Node, Walk, too_many

_Before = tuple[int, ...]
"""For each step of a schedule, as bits, those before it in every equivalent one."""


class PartialOrder(Walk):
    """Executes one schedule of each class of equivalent ones, at most ``most``.

    ``sample`` of those that were left out are executed after them, drawn at random, as a check that
    they behave like what was executed.
    """

    def __init__(self, most: int, *, sample: int = 0, seed: int = 0) -> None:
        super().__init__(most)
        self._stand_for = 0
        self._redundant = False
        self._repeated = 0
        self._waited = False
        """Whether an actor ever waited for another: then not every order can be executed."""
        self._blind = False
        """Whether what the steps touched is not to be believed."""
        self._sample = _Sample(sample, seed)
        self._over = False

    def begin(self) -> bool:
        """The next class; after the last one, what was left out.

        Raises:
            ChaosError: there are more than ``most`` classes.
        """
        self._redundant = False
        self._over = self._over or not super().begin()
        if self._over:
            return self._sample.begin()
        if self._executed == self._most:
            raise too_many(self._most, "all")
        return True

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """As the path says; at a new state the first option that is not asleep."""
        if self._over:
            return self._sample.choose(len(made), options)
        if len(made) == len(self._path) and self._strayed is None and not self._blind:
            # Where all are asleep, this schedule is like one that was executed: it is run to its
            # end, as half a round proves nothing, but neither counted nor gone into.
            asleep = self._asleep(made) if made else {}
            self._redundant = self._redundant or all(option in asleep for option in options)
        return options[0] if self._redundant else super().choose(made, name, options)

    def _node(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> Node:
        if self._blind:
            return Node(options, wanted=set(options), taken=options[0])
        asleep = self._asleep(made) if made else {}
        taken = next(option for option in options if option not in asleep)
        return Node(options, _with_it(taken, name, options), taken, asleep)

    def _asleep(self, made: Sequence[Choice]) -> dict[str, Choice]:
        if not made:
            return {}
        before, step = self._path[len(made) - 1], made[-1]
        known = {**before.asleep, **before.done}
        return {
            option: other
            for option, other in known.items()
            if option != step.taken and not _conflict(other, step)
        }

    def end(self, schedule: Schedule) -> None:
        """Find the steps whose order could be turned round, and want that to be executed."""
        if self._over:
            self._sample.end(schedule)
            return
        super().end(schedule)
        choices = schedule.choices
        self._waited = self._waited or any(choice.waited for choice in choices)
        if not self._blind and any(choice.hidden for choice in choices):
            self._begin_blind()
            return
        if self._blind:
            for choice in choices:
                choice.touched = None
        before = _happened_before(choices)
        known = len(self._path) if self._strayed is None else self._strayed
        for later in range(len(choices)):
            for earlier in range(min(later, known)):
                if _race(earlier, later, choices, before):
                    self._want_turned(earlier, later, choices, before)
        if self._strayed is not None:
            return
        if self._redundant:
            self._executed -= 1
            self._repeated += 1
            return
        self._stand_for += self._sample.learn(choices, before)

    def _begin_blind(self) -> None:
        """Begin anew, with nothing left out: who waited for what nobody tells of touches it too.

        Who came first may decide, in steps that seemed to have nothing in common.
        """
        self._blind = True
        self._path.clear()
        self._begun = False
        self._executed = self._stand_for = self._repeated = self._tries = self._lost = 0
        self._sample.forget()

    def _want_turned(
        self, earlier: int, later: int, choices: Sequence[Choice], before: _Before
    ) -> None:
        """Source sets: at the state before ``earlier``, one that can begin the turned order."""
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
        node.wanted |= (
            _with_it(possible[-1], GOES_ON, node.options) if possible else set(node.options)
        )

    @property
    def account(self) -> str:
        """How many schedules there are, and how many were executed."""
        told = []
        if self._stand_for > self._executed:
            repeated = f", {self._repeated} more turned out to be like them" * bool(self._repeated)
            count = f"at most {self._stand_for}" if self._waited else f"{self._stand_for}"
            ran = f"{self._executed} schedules were run, which stand"
            if self._executed == 1:
                ran = "1 schedule was run, which stands"
            told.append(
                f"{ran} for {count}{repeated}: the others differ only in the order of steps that "
                "touch nothing in common, by what the target tells"
            )
        if self._blind:
            told.append(
                f"all of {self._executed} schedules were run: actors waited for each other, for "
                "something that the target does not tell of"
            )
        return "; ".join(filter(None, [*told, self._sample.account, super().account]))


class _Sample:
    """Schedules that were left out, drawn at random and executed."""

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._dice = random.Random(seed)
        self._classes: list[tuple[tuple[str, ...], _Before]] = []
        self._sizes: list[int] = []
        """How many of each class were left out."""
        self._drawn: set[tuple[str, ...]] = set()
        self._wanted: tuple[str, ...] = ()
        self._strayed = 0

    def learn(self, choices: Sequence[Choice], before: _Before) -> int:
        """One of a class was executed; how many there are in it."""
        size = _orders(before)(0)
        if self._most and size > 1:
            self._classes.append((tuple(choice.taken for choice in choices), before))
            self._sizes.append(size - 1)
        return size

    def forget(self) -> None:
        """Nothing was left out."""
        self._classes.clear()
        self._sizes.clear()

    def begin(self) -> bool:
        if len(self._drawn) == min(self._most, sum(self._sizes)):
            return False
        while True:
            taken, before = self._dice.choices(self._classes, self._sizes)[0]
            self._wanted = tuple(taken[step] for step in _draw(before, self._dice))
            if self._wanted != taken and self._wanted not in self._drawn:
                self._drawn.add(self._wanted)
                return True

    def choose(self, step: int, options: tuple[str, ...]) -> str:
        wanted = self._wanted[step : step + 1]
        return wanted[0] if wanted and wanted[0] in options else options[0]

    def end(self, schedule: Schedule) -> None:
        self._strayed += str(schedule) != " ".join(self._wanted)

    @property
    def account(self) -> str:
        if not self._drawn:
            return ""
        strayed = f", but {self._strayed} of these went another way" * bool(self._strayed)
        return f"{len(self._drawn)} of them were run at random{strayed}"


def _with_it(option: str, name: str, options: Sequence[str]) -> set[str]:
    """What must be tried where this option is."""
    # No actor's step; or somebody may die, also after any of the others has done his step.
    if name != GOES_ON or any(other.startswith(CRASH) for other in options):
        return set(options)
    return {other for other in options if actor_of(other) == actor_of(option)}


def _conflict(one: Choice, other: Choice) -> bool:
    """Whether the order of two steps can matter."""
    if one.actor == other.actor or not _may_be_turned(one, other):
        return True
    if one.touched is None or other.touched is None or (one.visible and other.visible):
        return True
    return any(mine.conflicts(theirs) for mine in one.touched for theirs in other.touched)


def _may_be_turned(one: Choice, other: Choice) -> bool:
    """Whether two steps are of actors that go on at the same time."""
    return one.name == other.name == GOES_ON and one.race == other.race


def _happened_before(choices: Sequence[Choice]) -> _Before:
    """For each step, as bits, those that must come before it in every equivalent schedule."""
    before: list[int] = []
    for later, step in enumerate(choices):
        seen = 0
        for earlier in reversed(range(later)):
            if not seen >> earlier & 1 and _conflict(choices[earlier], step):
                seen |= 1 << earlier | before[earlier]
        before.append(seen)
    return tuple(before)


def _race(earlier: int, later: int, choices: Sequence[Choice], before: _Before) -> bool:
    """Whether two conflicting steps are next to each other, and can be turned round."""
    one, other = choices[earlier], choices[later]
    if not _may_be_turned(one, other):
        return False
    if one.actor == other.actor and list(map(actor_of, one.options)).count(one.actor) == 1:
        return False  # else it may be another strand that goes on later
    if not before[later] >> earlier & 1:
        return False
    between = range(earlier + 1, later)
    return not any(before[k] >> earlier & 1 and before[later] >> k & 1 for k in between)


def _orders(before: _Before) -> Callable[[int], int]:
    """In how many orders the steps can be executed that are not among these (as bits)."""
    everything = (1 << len(before)) - 1

    @cache
    def orders(done: int) -> int:
        if done == everything:
            return 1
        return sum(orders(done | 1 << step) for step in _ready(before, done))

    return orders


def _ready(before: _Before, done: int) -> list[int]:
    return [
        step for step in range(len(before)) if not done >> step & 1 and before[step] & ~done == 0
    ]


def _draw(before: _Before, dice: random.Random) -> list[int]:
    """One of these orders, each as likely as the others."""
    orders, done, drawn = _orders(before), 0, []
    while ready := _ready(before, done):
        weights = [orders(done | 1 << step) for step in ready]
        drawn.append(dice.choices(ready, weights)[0])
        done |= 1 << drawn[-1]
    return drawn
