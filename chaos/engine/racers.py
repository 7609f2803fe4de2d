"""The racers: the actors of a race, as their own threads tell what they do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from chaos.engine.gate import Gate
from chaos.engine.stage import Stage
from chaos.failpoints.arm import Arm
from chaos.hit import Hit
from chaos.operation import ExpectationFailed, Scope

HELD_PATIENCE = 4
"""Who is held cannot help being late: it may be held for so many times a plan's deadline."""


@dataclass(slots=True, eq=False)
class Parked:
    """An actor's client, about to begin its next step."""

    step: str
    free: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let it begin."""
        self.free.set()


@dataclass(slots=True, eq=False)
class Racer:
    """One actor of a race. Its own thread writes what its client does, the driver the rest."""

    label: str
    arms: list[Arm]
    serves: bool
    """Whether it kills or starts services: what that touches, no access tells."""
    driven: bool = True
    """Whether it goes on only when it is let go."""
    started: bool = False
    ended: bool = False
    """Whether its client has performed its last step."""
    looking: bool = False
    idle: threading.Event | None = None
    """It has looked in vain, and looks again when this is set."""
    blocked: bool = False
    parked: Parked | None = None
    names: dict[Hit | Parked, str] = field(default_factory=dict)
    """What it was called as an option, from when it could be chosen until it goes on."""

    @property
    def is_parked(self) -> bool:
        """Whether it waits for its next step; not from the moment at which it may begin it."""
        return self.parked is not None and not self.parked.free.is_set()


class Racers:
    """The actors of the race that is under way; empty while there is none."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._racers: dict[str, Racer] = {}
        self.told = 0
        """How often an actor's own thread has said what it does."""
        self._called_off = False

    def __iter__(self) -> Iterator[Racer]:
        return iter(self._racers.values())

    def __getitem__(self, label: str) -> Racer:
        return self._racers[label]

    @property
    def labels(self) -> frozenset[str]:
        """Who they are."""
        return frozenset(self._racers)

    @property
    def arms(self) -> list[Arm]:
        """The arms that hold them."""
        return [arm for racer in self for arm in racer.arms]

    # ------------------------------------------------------------------ for an actor's thread

    def drives(self, label: str) -> bool:
        """Whether this actor goes on only when it is let go."""
        return label in self._racers and self._racers[label].driven

    def enter(self, label: str, step: str) -> bool:
        """Wait until this actor may begin its next step; False when it never will.

        At once when it is not gated.
        """
        racer = self._racers.get(label)
        if racer is None:
            return True
        parked = racer.parked = Parked(step)
        self._tell()
        if not racer.driven:  # asked after it is known that we wait: nobody is left waiting
            parked.release()
        parked.free.wait()
        racer.parked = None
        return not self._called_off

    def look(self, label: str, looking: bool) -> None:
        """Say that this actor only looks from now on, or that it does not any more."""
        if label in self._racers:
            self._racers[label].looking = looking
            self._tell()

    def look_again(self, label: str) -> bool:
        """Say that a look was in vain, and wait until another is worth it; False: none is.

        False at once where the actor is not gated: it has to wait in its own way.
        """
        racer = self._racers.get(label)
        if racer is None:
            return False
        idle = racer.idle = threading.Event()
        self._tell()
        if not racer.driven:
            idle.set()
        idle.wait()
        return racer.driven

    def patient(self, label: str, scope: Scope, *, looks: bool) -> Scope:
        """The scope of an operation that may be held; between two looks it waits for the others."""
        if not self.drives(label):
            return scope
        scope = replace(scope, deadline_s=scope.deadline_s + self.held_at_most_s(label))
        if not looks:
            return scope

        def sleep(_: float) -> None:
            if not self.look_again(label):
                raise ExpectationFailed(
                    "it was not so when nobody else had anything left to do, nor "
                    f"{self._stage.deadline_s:g} s later"
                )

        return replace(scope, sleep=sleep)

    def held_at_most_s(self, label: str) -> float:
        """Seconds for which what this actor does may be held; 0: it is never."""
        return HELD_PATIENCE * self._stage.deadline_s if self.drives(label) else 0.0

    def leave(self, label: str) -> None:
        """Say that this actor's client has performed its last step."""
        if label in self._racers:
            self._racers[label].ended = True
            self._tell()

    def _tell(self) -> None:
        self.told += 1
        self._stage.history.ask_again()

    # ------------------------------------------------------------------ for the gates

    def expect(self, labels: Sequence[str], gates: Sequence[Gate]) -> list[str]:
        """Make ready to drive those of these actors that are held at a gate; says which."""
        gated = [label for label in labels if any(label in gate.arms for gate in gates)]
        self._racers = {
            label: Racer(
                label,
                [arm for gate in gates for arm in gate.arms.get(label, ())],
                serves=self._stage.actors.serves(label),
            )
            for label in gated
        }
        return gated

    def call_off(self) -> None:
        """Have those who are let go now begin nothing new."""
        self._called_off = True

    def let_go(self) -> None:
        """Let everybody go, and drive nobody any more."""
        for racer in self:
            racer.driven = False
            if racer.parked is not None:
                racer.parked.release()
            if racer.idle is not None:
                racer.idle.set()
        self._stage.controller.disarm(self.arms)
