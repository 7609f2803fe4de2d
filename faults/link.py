"""Faults on the links between services: what passes is late, slow, cut into pieces or cut off.

The words are those of toxiproxy (https://github.com/Shopify/toxiproxy#toxics). Without an ``at`` a
fault is there before the first step of its part of the plan; with one, from the moment on when the
point is reached, and whoever reached it goes on then. It goes when its part has ended.

It has struck when something has passed the link meanwhile, as the kernel counts it, or where it
acts on the ends of connections, when one has ended; a fault that nothing met is VACUOUS.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaos.action import Action
from chaos.errors import Vacuous
from chaos.fault import Armed, Fault, FaultContext, Strike
from chaos.history import Kind
from chaos.link import DOWN, Link, Passed, Toxic, Traffic, Way
from chaos.plan import Location
from chaos.words import Named, Word
from faults.hitting import Hitting

Ways = Literal["there", "back", "both"]
_WAYS: dict[str, tuple[Way, ...]] = {
    "there": ("upstream",),
    "back": ("downstream",),
    "both": ("upstream", "downstream"),
}


class OnLinks(Fault):
    """What the faults on links have in common."""

    located: ClassVar[bool | None] = None
    needs: ClassVar[str] = "links"
    word: ClassVar[str]
    cuts: ClassVar[bool] = False
    """Whether it acts on the ends of connections: then it has struck when one ended."""

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Put it on now, or when the point is reached.

        Raises:
            Vacuous: there is no such link.
        """
        where = [*self.toxics(context)]
        if not where:
            raise Vacuous(f"{self.word} struck nothing: there is no such link.")
        if at is None:
            disturbed = Disturbed(context, self, where)
            disturbed.begin()
            return disturbed
        arm = context.arm(at, Action.pause(limit_s=context.deadline_s * 2))
        disturbed = DisturbedAt(context, self, where, arm, at)
        context.react(self.word, disturbed.begin_when_reached)
        return disturbed

    @abstractmethod
    def toxics(self, context: FaultContext) -> Iterator[tuple[Link, Toxic]]:
        """What to put on which link."""


class OnLink(OnLinks):
    """What the faults on one link, or on all that match, have in common."""

    link: Annotated[str, Word(Named.LINK)] = Field(
        description="which links, as SOURCE>SERVICE (a shell pattern on each side)"
    )
    way: Ways = Field("both", description="what goes there, what comes back, or both")

    def toxics(self, context: FaultContext) -> Iterator[tuple[Link, Toxic]]:
        """The same on each link."""
        for link in context.links(self.link):
            for way in _WAYS[self.way]:
                yield link, Toxic(self.kind(), way, self.attributes())

    @abstractmethod
    def attributes(self) -> dict[str, int]:
        """Those of the toxic."""

    def kind(self) -> str:
        """Toxiproxy's word for it."""
        return self.word


class Disturbed(Strike):
    """Links with toxics on them; struck when something passes one of them."""

    def __init__(
        self, context: FaultContext, fault: OnLinks, where: Sequence[tuple[Link, Toxic]]
    ) -> None:
        self.context = context
        self._word = fault.word
        self._cuts = fault.cuts
        self._where = where
        self._before: dict[str, Traffic] = {}
        self._met = ""
        self._passed: dict[str, Passed] = {}
        self._lock = threading.Lock()
        """Held by whoever puts the toxics on or takes them away."""
        self._on = self._over = False

    def begin(self) -> None:
        """Put the toxics on; the undo log can take them away even after our own death."""
        with self._lock:
            if self._over:
                return
            self._on = True
            self._before = {link.name: link.traffic() for link in self._links}
            for name in self._before:
                # First: whoever sees its effect finds in the history what it comes from.
                self.context.tell(
                    Kind.FAULT, name, self._word, f"{self._word} on {name}",
                    dies=False, began_ns=time.monotonic_ns(),
                )  # fmt: skip
            for link, toxic in self._where:
                self.context.push_undo(link.undo_of(toxic))
                link.put(toxic)

    def wait(self, deadline_s: float) -> bool:
        """Wait until something has passed."""
        return self.context.wait_for(self._meets, deadline_s) or self._meets()

    def _meets(self) -> bool:
        if self._on and not self._met:
            for link in self._links:
                passed = link.traffic().since(self._before[link.name])
                self._passed[link.name] = passed
                if passed.ended if self._cuts else passed:
                    self._met = f"{link.name}: {passed}"
                    break
        return bool(self._met)

    @property
    def _links(self) -> Collection[Link]:
        return {link.name: link for link, _ in self._where}.values()

    @property
    def _names(self) -> str:
        return ", ".join(link.name for link in self._links)

    def missing(self) -> str:
        """What has not passed."""
        if self._met:
            return ""
        what = "No connection ended on" if self._cuts else "Nothing passed"
        seen = "; ".join(f"{name}: {passed}" for name, passed in self._passed.items() if passed)
        return f"{what} {self._names} while {self._word} was there{f' ({seen})' * bool(seen)}."

    def finish(self, deadline_s: float) -> None:
        """Take the toxics away, and say what they have met."""
        with self._lock:
            self._over = True
            if not self._on:
                return
            for link, toxic in self._where:
                link.take(toxic)
        told = f"{self._names} as before {self._word}, which met {self._met}"
        self.context.tell(Kind.UNDO, self._names, self._word, told)


class DisturbedAt(Disturbed):
    """The same, from the moment on when a point is reached."""

    def __init__(
        self,
        context: FaultContext,
        fault: OnLinks,
        where: Sequence[tuple[Link, Toxic]],
        arm: Armed,
        at: Location,
    ) -> None:
        super().__init__(context, fault, where)
        self._arm = arm
        self._hitting = Hitting(context, arm, at, fault.word)

    def begin_when_reached(self) -> None:
        """Put the toxics on while the caller is held, who goes on then."""
        hit = self._arm.wait(None)  # disarmed when the round ends
        if hit is None:
            return
        try:
            self.begin()
        finally:
            hit.release()

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit, and then until something has passed."""
        return self._hitting.wait(deadline_s) and super().wait(deadline_s)

    @property
    def coming(self) -> bool:
        """Whether the point was reached, and the toxics are being put on."""
        return self._hitting.coming and not self._on

    def missing(self) -> str:
        """That the point was not reached, or nothing has passed since."""
        return self._hitting.missing() or super().missing()


class Latency(OnLink):
    """All that passes is late."""

    word: ClassVar[str] = "latency"

    seconds: float = Field(gt=0, le=60, description="how much later, in seconds")
    jitter: float = Field(0, ge=0, le=60, description="plus or minus, in seconds")

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"latency": _ms(self.seconds), "jitter": _ms(self.jitter)}


class Bandwidth(OnLink):
    """Only so much passes in a second."""

    word: ClassVar[str] = "bandwidth"

    kilobytes: int = Field(ge=1, description="how many kilobytes a second")

    def attributes(self) -> dict[str, int]:
        """In kilobytes a second."""
        return {"rate": self.kilobytes}


class SlowClose(OnLink):
    """A connection that is closed at one end is closed at the other one later."""

    word: ClassVar[str] = "slow_close"
    cuts: ClassVar[bool] = True

    seconds: float = Field(gt=0, le=60, description="how much later, in seconds")

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"delay": _ms(self.seconds)}


class Timeout(OnLink):
    """Nothing passes; after a time each connection is closed."""

    word: ClassVar[str] = "timeout"

    seconds: float = Field(0, ge=0, le=60, description="0: as long as the fault is there")

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"timeout": _ms(self.seconds)}


class ResetPeer(OnLink):
    """Each connection is reset (TCP RST), after a time."""

    word: ClassVar[str] = "reset_peer"
    cuts: ClassVar[bool] = True

    seconds: float = Field(0, ge=0, le=60, description="0: at once")

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"timeout": _ms(self.seconds)}


class Slicer(OnLink):
    """What passes arrives in small pieces."""

    word: ClassVar[str] = "slicer"

    size: int = Field(ge=1, description="bytes of a piece, on average")
    variation: int = Field(0, ge=0, description="plus or minus, in bytes; less than the size")
    seconds: float = Field(0, ge=0, le=60, description="between two pieces")

    def attributes(self) -> dict[str, int]:
        """The delay in microseconds."""
        return {
            "average_size": self.size,
            "size_variation": self.variation,
            "delay": round(self.seconds * 1e6),
        }


class LimitData(OnLink):
    """Each connection is closed once so much has passed it."""

    word: ClassVar[str] = "limit_data"
    cuts: ClassVar[bool] = True

    size: int = Field(ge=0, description="how many bytes")

    def attributes(self) -> dict[str, int]:
        """In bytes."""
        return {"bytes": self.size}


class Down(OnLinks):
    """A link refuses every connection, and those that are open are cut.

    It has struck when it has cut one: an attempt that is refused leaves no trace.
    """

    word: ClassVar[str] = "down"
    cuts: ClassVar[bool] = True

    link: Annotated[str, Word(Named.LINK)] = Field(
        description="which links, as SOURCE>SERVICE (a shell pattern on each side)"
    )

    def toxics(self, context: FaultContext) -> Iterator[tuple[Link, Toxic]]:
        """One for each link."""
        return ((link, Toxic(DOWN)) for link in context.links(self.link))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
