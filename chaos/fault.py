"""The contract between the engine and a kind of fault.

A fault is a pydantic model: its fields are its arguments in a plan. :meth:`Fault.prepare` puts it
in place before the phase in which it may strike and returns a :class:`Strike`, which tells — with
evidence — whether it struck. Whatever a fault changes outside the target's own execution goes
through the undo log of the context first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from chaos.action import Action
from chaos.history import Kind
from chaos.hit import Hit
from chaos.link import Link
from chaos.plan import Location, Model, Phase
from chaos.safety.undo import Entry
from chaos.target import Service


class Armed(Protocol):
    """An action that waits at a point, as a fault sees it."""

    @property
    def number(self) -> int:
        """What its hits name."""

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Those that acted, in the order in which they were reported."""

    @property
    def matched(self) -> int:
        """How often everything that was asked for was true, whether it acted or not."""

    @property
    def unwanted(self) -> int:
        """How many calls came to the point but raised where they should return, or reversed."""

    @property
    def state(self) -> Mapping[str, str]:
        """What each service answered: ``armed``, ``pending`` (not imported yet) or ``error: …``."""

    def wait(self, deadline_s: float | None, *, number: int = 1) -> Hit | None:
        """Wait for the ``number``-th hit; None: not by the deadline, or disarmed."""

    def disarm(self) -> None:
        """Take it away everywhere and let go whom it holds."""


class FaultContext(Protocol):
    """What a fault can reach and do in one round; any of its threads may."""

    @property
    def deadline_s(self) -> float:
        """Seconds that anything in this round may take."""

    @property
    def phase(self) -> Phase:
        """The part of the plan that is under way, for which the fault is put in place."""

    @property
    def services(self) -> Mapping[str, Service]:
        """The target's services."""

    def matching(self, pattern: str) -> Sequence[Service]:
        """The services whose name matches a shell pattern."""

    def links(self, pattern: str) -> Sequence[Link]:
        """The links that a pattern means (:func:`chaos.link.leads`)."""

    def arm(self, at: Location, action: Action, *, times: int | None = 1, parks: str = "") -> Armed:
        """Put an action at a location of the plan; undone when the round ends.

        ``parks`` says what must happen before it lets go whom it holds: the step at whose end, or
        the point. A race need not wait for it then.
        """

    def gate(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Strike:
        """Hold these actors at these points, and let the schedule say who goes on.

        Up to ``crashes`` times the schedule may have the service die that holds one, instead.
        """

    def choose(self, name: str, options: Sequence[str]) -> str:
        """One of the options, as the schedule has it; recorded, so that it can be read back."""

    def push_undo(self, entry: Entry) -> None:
        """Write down how to undo what is injected next, for whoever is alive then."""

    def tell(
        self, kind: Kind, lane: str, name: str, text: str, *, actor: str = "", **facts: Any
    ) -> None:
        """Put a fault, an undo or a step into the history."""

    def react(self, name: str, reaction: Callable[[], None]) -> None:
        """Run ``reaction`` beside the workload; its error makes the round an ERROR."""

    def wait_for(self, happened: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until ``happened()``, asked after each event, for as long as the round lasts.

        False after ``deadline_s`` seconds, or when the round is over.
        """

    def ended_ns(self, step: str) -> int | None:
        """When the step with this label or operation, or the phase, first ended; None: not yet.

        Only steps of the phase that is under way count.
        """

    def has_ended(self, service: str, since_ns: int) -> bool:
        """Whether this service's process has ended since then; it may have been started again."""

    def was_struck(self, service: str, since_ns: int) -> bool:
        """Whether a fault at a point has struck this service since then."""

    def reached(self, point: str) -> Sequence[Hit]:
        """Every time so far that the beginning of this point's function was reached, by anybody."""

    def part_of(self, hit: Hit) -> str:
        """In which part of the plan a point was reached: ``given``, or a phase."""

    def actor_of(self, hit: Hit) -> str:
        """On whose behalf a point was reached; '' when nobody knows."""

    def hits_of(self, *arms: Armed) -> list[Hit]:
        """The hits of these arms so far; waiting on the history never misses one."""


class Strike(ABC):
    """One injected fault of one round."""

    struck: bool = False
    """Whether :meth:`wait` has returned True."""
    own_step: bool = False
    """Whether the step that a hold waits for has begun with nobody held: only it can bring one."""
    calls: int = 1
    """How many times its location must be reached until it has struck."""

    @abstractmethod
    def wait(self, deadline_s: float) -> bool:
        """Wait until it struck; False when it had not after ``deadline_s`` seconds."""

    @property
    def coming(self) -> bool:
        """Whether its location was reached, and it strikes right now."""
        return False

    @abstractmethod
    def missing(self) -> str:
        """What was waited for in vain, for the VACUOUS verdict; '' when it struck."""

    def finish(self, deadline_s: float) -> None:  # noqa: B027 - most faults have nothing to do
        """Called when the workload has ended: release what is held, wait for what must end.

        Raises:
            ChaosError: an effect that must have happened by ``deadline_s`` seconds did not.
        """

    @property
    def holds_until(self) -> str:
        """The step that must not begin before somebody is held; '' for a fault that holds nobody.

        The phase itself stands for its last step.
        """
        return ""


class Fault(Model, ABC):
    """A kind of fault; a plan's ``do`` names it.

    Fields that name something are marked with :class:`chaos.words.Word`, and looked up when the
    plan is bound.
    """

    located: ClassVar[bool | None] = True
    """Whether it needs an ``at``: True it must have one, False it must not, None it may."""
    needs: ClassVar[str] = ""
    """The capability of the target without which it cannot strike."""

    @abstractmethod
    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Put the fault in place for one round."""
