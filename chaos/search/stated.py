"""Replay: schedules that somebody states are read back."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.schedule import Choice, Schedule, ScheduleError, Strategy


class Stated(Strategy):
    """Executes these schedules, as text; where one ends early, the first option is taken."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._left = [tuple(text.split()) for text in texts]
        self._wanted: tuple[str, ...] = ()

    def begin(self) -> bool:
        """The next one."""
        if not self._left:
            return False
        self._wanted = self._left.pop(0)
        return True

    def choose(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> str:
        """As the text says.

        Raises:
            ScheduleError: that cannot be chosen: the plan, or the target, is not what it was.
        """
        wanted = self._wanted[len(made) :]
        if not wanted:
            return options[0]
        if wanted[0] not in options:
            raise self._impossible(made, f"{' or '.join(options)} ({name})")
        return wanted[0]

    def end(self, schedule: Schedule) -> None:
        """Make sure that all of the text was read.

        Raises:
            ScheduleError: it goes on.
        """
        if len(schedule) < len(self._wanted):
            raise self._impossible(schedule.choices, "nothing")

    def _impossible(self, made: Sequence[Choice], options: str) -> ScheduleError:
        step = len(made)
        so_far = " ".join(choice.taken for choice in made) or "the start"
        return ScheduleError(
            f"this schedule cannot be executed: step {step + 1} wants `{self._wanted[step]}`, but "
            f"only {options} could be chosen after {so_far}"
        )
