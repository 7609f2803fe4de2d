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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos.errors import ChaosError
from chaos.point import Access


@dataclass(slots=True)
class Choice:
    """One choice: its ``name``, the ``options`` that there were, and the one that was ``taken``.

    ``touched`` is what whom it let go read and wrote before the next choice; None when the target
    does not tell. ``visible`` says whether an observer saw the world change.
    """

    name: str
    options: tuple[str, ...]
    taken: str
    touched: frozenset[Access] | None = None
    visible: bool = True

    @property
    def actor(self) -> str:
        """Whose step this is: the option without the place in ``first@compute-host1``."""
        return self.taken.partition("@")[0]


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
