"""A schedule: the choices of one round, in order; and the seam through which they are made.

Whatever a round leaves open (which actor goes next, whether a fault strikes, whether a service dies
here) is asked for by :meth:`Choices.choose` and recorded. A *strategy* answers; reading a schedule
back is replay, and every search is another way to answer.

>>> class First(Strategy):
...     def begin(self):
...         return True
...     def choose(self, made, name, options):
...         return options[0]
>>> choices = Choices(First())
>>> [choices.choose("goes on", ["first", "second"]) for _ in range(2)]
['first', 'first']
>>> str(choices.schedule)
'first first'
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.errors import ChaosError
from chaos.point import Access

GOES_ON = "goes on"
"""The name of the choice which actor goes on; the only one whose options may commute."""

CRASH = "crash:"
"""How the option of such a choice starts that kills the service which holds an actor."""


@dataclass(slots=True)
class Choice:
    """One choice: its ``name``, the ``options`` that there were, and the one that was ``taken``.

    ``touched`` is what was read and written before the next choice; None when that is not known,
    and it may have been anything. ``visible`` says whether an observer saw the world change.
    ``race`` numbers the races of a plan: steps of one never come before those of an earlier one.
    ``waited``: some actor waited for another one meanwhile, as for a lock; ``hidden``: and no
    access tells for what.
    """

    name: str
    options: tuple[str, ...]
    taken: str
    touched: frozenset[Access] | None = None
    visible: bool = True
    race: int = 0
    waited: bool = False
    hidden: bool = False

    @property
    def actor(self) -> str:
        """Whose step this is: the option without the place in ``first@compute-host1``."""
        return actor_of(self.taken)

    def touch(self, accesses: Iterable[Iterable[Access] | None]) -> None:
        """Add to what was touched; None among them: anything may have been."""
        for touched in accesses:
            if touched is None:
                self.touched = None
            elif self.touched is not None:
                self.touched |= frozenset(touched)


def actor_of(option: str) -> str:
    """Whose step an option is: ``first`` of ``first@compute-host1``."""
    return option.partition("@")[0].rstrip("'")


@dataclass(slots=True)
class Schedule:
    """The choices of one round; as text, the options taken: what ``--schedule`` reads back."""

    choices: list[Choice] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(choice.taken for choice in self.choices)

    def __bool__(self) -> bool:
        return bool(self.choices)

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)


class ScheduleError(ChaosError):
    """A schedule cannot be read back: at some choice there was no such option."""


class Strategy(ABC):
    """Answers the choices of the rounds of one trial. Used from one thread at a time."""

    @abstractmethod
    def begin(self) -> bool:
        """Prepare for another round; False when there is no schedule left.

        Raises:
            ChaosError: there are more schedules than were asked for.
        """

    @abstractmethod
    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """One of the ``options``; ``made`` are the choices of this round so far."""

    def end(self, schedule: Schedule) -> None:  # noqa: B027 - most need not learn from it
        """Learn how the round went; its choices know what they touched."""

    @property
    def account(self) -> str:
        """What was executed, and what was left out and why, in words; '' when there is no doubt."""
        return ""


class Choices:
    """The choices of one round, each made by the strategy and recorded; safe from any thread."""

    def __init__(self, strategy: Strategy) -> None:
        self.schedule = Schedule()
        self._strategy = strategy
        self._lock = threading.Lock()

    def choose(self, name: str, options: Sequence[str]) -> str:
        """One of the options.

        Raises:
            ScheduleError: a schedule is being read back, and does not fit.
        """
        with self._lock:
            made = self.schedule.choices
            taken = self._strategy.choose(made, name, tuple(options))
            assert taken in options, f"{taken} is none of {options}"
            made.append(Choice(name, tuple(options), taken))
            return taken
