"""pause: whoever reaches the point is held there until something else has happened."""

from __future__ import annotations

from threading import Event
from typing import Annotated

from pydantic import Field

from chaos.action import Action
from chaos.errors import ChaosError
from chaos.fault import Armed, Fault, FaultContext, Strike
from chaos.history import Kind
from chaos.hit import Hit
from chaos.plan import Location, Model
from chaos.words import Word
from faults.hitting import Hitting


class Reached(Model):
    """Somebody comes to another point, after the hold began: ``{reach: before bdm.destroy}``."""

    reach: Location


class Pause(Fault):
    """The caller is held at the point until a step has ended, or another point is reached."""

    until: Annotated[str, Word("step")] | Reached = Field(
        "",
        description="label or operation of the step after which it goes on, or a point to `reach`;"
        " omitted: it goes on when all steps of its part have ended",
    )

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Arm the pause, and release it when the time has come."""
        assert at is not None
        until = self.until or context.phase.value
        until = until if isinstance(until, str) else str(until.reach)
        arm = context.arm(at, Action.pause(limit_s=context.deadline_s * 2), parks=until)
        sign = None
        if isinstance(self.until, Reached):
            sign = context.arm(self.until.reach, Action.record(), times=None)
        pausing = Pausing(context, arm, at, self.until or context.phase.value, sign)
        context.react("pause", pausing.hold)
        return pausing


class Pausing(Hitting):
    """A pause has struck when somebody was held before that had happened which it waits for."""

    def __init__(
        self,
        context: FaultContext,
        arm: Armed,
        at: Location,
        until: str | Reached,
        sign: Armed | None,
    ) -> None:
        super().__init__(context, arm, at, "pause")
        self.until = until
        self.sign = sign
        self._decided = Event()
        self._held = False

    @property
    def holds_until(self) -> str:
        """The step at whose end it lets go; a point is come to by the last one, as a rule."""
        return self.until if isinstance(self.until, str) else self.context.phase.value

    @property
    def _sign(self) -> str:
        return self.until if isinstance(self.until, str) else str(self.until.reach)

    def hold(self) -> None:
        """Let whoever is held go on when the time has come.

        Raises:
            ChaosError: what it waits for has not happened while it had the time to.
        """
        context = self.context
        context.wait_for(lambda: bool(context.hits_of(self.arm)) or self._is_over(None), None)
        if self.arm.matched:  # somebody came before, and is being held
            context.wait_for(lambda: bool(context.hits_of(self.arm)), context.deadline_s)
        hits = context.hits_of(self.arm)
        # Not reached before the step ended: the pause would hold nothing apart any more.
        if not hits or self._is_over(hits[0], before=True):
            self.arm.disarm()
            self._decided.set()
            return
        hit = hits[0]
        context.tell(
            Kind.FAULT, hit.service, "pause", f"{hit.service} is held {self.at}", pid=hit.pid
        )
        own = self.own_step
        if not own:
            self._held = True
            self._decided.set()
        # Less than a client's patience, so that a step which waits for the held one cannot end by
        # giving up just before we say that it never would.
        patience_s = context.deadline_s / 2
        over = context.wait_for(lambda: self._is_over(hit), patience_s)
        hit.release()
        context.tell(Kind.UNDO, hit.service, "pause", f"{hit.service} goes on {self.at}")
        self._decided.set()
        if not over and self.sign is not None:
            raise ChaosError(
                f"{hit.service} was held {self.at} for {patience_s:g} s, but nobody came to "
                f"`{self._sign}`{self._came_before(hit)}: does whoever should wait for the one "
                "that is held?"
            )
        if not over:
            raise ChaosError(
                f"{hit.service} was held {self.at} for {patience_s:g} s, but `{self._sign}` has "
                "not ended: does that step wait for the one that is held?"
            )

    def _came_before(self, hit: Hit) -> str:
        """Who was at the sign too early."""
        assert self.sign is not None
        early = any(seen.at_ns <= hit.at_ns for seen in self.context.hits_of(self.sign))
        return " after that, only before" if early else ""

    def _is_over(self, hit: Hit | None, *, before: bool = False) -> bool:
        """Whether that has happened which is waited for (``before`` the hit: too early)."""
        if self.sign is not None:
            since_ns = hit.at_ns if hit is not None else 0
            # Whoever passed before anybody was held is not the one that is waited for.
            return (
                hit is not None
                and not before
                and any(seen.at_ns > since_ns for seen in self.context.hits_of(self.sign))
            )
        ended_ns = self.context.ended_ns(str(self.until))
        if ended_ns is None:
            return False
        return not before or hit is None or ended_ns < hit.at_ns

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit, and whether it came before the step had ended."""
        came = super().wait(deadline_s)
        return came and self._decided.wait(self.context.deadline_s) and self._held

    @property
    def coming(self) -> bool:
        """Whether somebody is about to be held."""
        return super().coming and not self._decided.is_set()

    def finish(self, deadline_s: float) -> None:
        """Nothing more: its own reaction has told of it."""

    def missing(self) -> str:
        """That the point was not reached, or too late."""
        if self._held or not self._decided.is_set():
            return super().missing()
        if self.own_step and self.arm.hits:
            return (
                f"Nobody was held `{self.at}` when `{self._sign}` began. That step itself leads "
                "there, sooner or later than it ends: a pause has to end with a later step."
            )
        told = f"Nobody whom it concerns came to `{self.at}` before `{self._sign}` had ended."
        return " ".join([told, *self.seen_elsewhere()])
