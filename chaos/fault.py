"""The contract between the engine and a kind of fault.

A fault is a pydantic model: its fields are its arguments in a plan. :meth:`Fault.prepare` puts it
in place before the workload starts and returns a :class:`Strike`, which tells — with evidence —
whether it struck. Whatever a fault changes outside the target's own execution goes through the
undo log of the stage first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from chaos.plan import Location, Model

if TYPE_CHECKING:
    from chaos.engine.stage import Stage


class Strike(ABC):
    """One injected fault of one round."""

    @abstractmethod
    def wait(self, deadline_s: float) -> bool:
        """Wait until it struck; False when it had not after ``deadline_s`` seconds."""

    @abstractmethod
    def missing(self) -> str:
        """What was waited for in vain, for the VACUOUS verdict; '' when it struck."""

    def finish(self, deadline_s: float) -> None:  # noqa: B027 - most faults have nothing to do
        """Called when the workload has ended: release what is held, wait for what must end.

        Raises:
            ChaosError: an effect that must have happened by ``deadline_s`` seconds did not.
        """


class Variation:
    """One way to execute a plan; a fault with several (an order of actors) is run once for each."""

    def __str__(self) -> str:
        return ""


class Fault(Model, ABC):
    """A kind of fault; a plan's ``do`` names it."""

    located: ClassVar[bool | None] = True
    """Whether it needs an ``at``: True it must have one, False it must not, None it may."""

    @abstractmethod
    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Put the fault in place for one round."""

    def variations(self, order: str = "") -> Iterator[Variation]:
        """Every way in which the plan is to be executed; most faults have one.

        ``order`` asks for one given way only (to reproduce it). The next is asked for after the
        round has ended, so that it can depend on what the round showed.
        """
        yield Variation()

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """Names in the arguments that must exist, as (path in the arguments, kind, name).

        Kind is ``point``, ``service`` (a pattern), ``actor`` or ``step``.
        """
        return iter(())
