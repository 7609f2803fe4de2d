"""A link: the way on which one service of a target, or its client, reaches another one.

A target that can disturb its links declares the capability ``links`` and has them by name. What is
put on a link is a *toxic*, as toxiproxy calls it: the words and attributes are toxiproxy's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from chaos.point import means
from chaos.safety.undo import Entry

DOWN = "down"
"""The kind of toxic by which a link refuses every connection, and those that are open are cut."""

Way = Literal["upstream", "downstream"]
"""What the source sends, or what it gets."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """What is done to what passes one way. Times are in milliseconds, sizes in bytes.

    Source of kinds and attributes: https://github.com/Shopify/toxiproxy#toxics
    """

    kind: str
    way: Way = "upstream"
    attributes: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique on a link."""
        return f"{self.kind}-{self.way}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has passed a link up to one moment.

    ``accepted`` is how many connections there were ever; ``there`` and ``back`` are the bytes that
    have passed those that are open, by connection.
    """

    accepted: int
    there: Mapping[str, int]
    back: Mapping[str, int]

    def since(self, earlier: Traffic) -> Passed:
        """What has passed since then."""
        opened = self.accepted - earlier.accepted
        return Passed(
            _grown(earlier.there, self.there),
            _grown(earlier.back, self.back),
            opened,
            # One that is open in the kernel may be accepted a moment later.
            max(len(earlier.there) + opened - len(self.there), 0),
        )


def _grown(earlier: Mapping[str, int], later: Mapping[str, int]) -> int:
    return sum(max(size - earlier.get(one, 0), 0) for one, size in later.items())


@dataclass(frozen=True, slots=True)
class Passed:
    """What has passed a link in a time: bytes, and connections that were opened and that ended."""

    there: int
    back: int
    opened: int
    ended: int

    def __bool__(self) -> bool:
        return any((self.there, self.back, self.opened, self.ended))

    def __str__(self) -> str:
        told = (
            (self.there, "bytes there"),
            (self.back, "bytes back"),
            (self.opened, "connections opened"),
            (self.ended, "connections ended"),
        )
        return ", ".join(f"{number} {what}" for number, what in told if number) or "nothing"


class Link(Protocol):
    """One link of a running target; any thread may use it."""

    @property
    def name(self) -> str:
        """``SOURCE>SERVICE``, e.g. ``api>volume``."""

    @property
    def source(self) -> str:
        """Who opens its connections: a service, or ``client``."""

    @property
    def to(self) -> str:
        """The service that it leads to."""

    def put(self, toxic: Toxic) -> None:
        """Let a toxic act on all that passes from now on."""

    def take(self, toxic: Toxic) -> None:
        """Take it away again; does nothing when it is not there."""

    def undo_of(self, toxic: Toxic) -> Entry:
        """What takes it away when nobody else is there to do so."""

    def traffic(self) -> Traffic:
        """What has passed until now."""


def leads(pattern: str, name: str) -> bool:
    """Whether a pattern means a link: ``SOURCE>SERVICE``, each a pattern as of services.

    Without an arrow it means every link that begins or ends there.

    >>> leads("api>volume|network", "api-2>network"), leads("*>volume", "compute-host1>image")
    (True, False)
    """
    from_whom, arrow, to_whom = pattern.partition(">")
    source, _, to = name.partition(">")
    if not arrow:
        return means(pattern, source) or means(pattern, to)
    return means(from_whom, source) and means(to_whom, to)
