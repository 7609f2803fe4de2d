"""partition: two groups of services do not hear each other, or one of them not the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.fault import FaultContext
from chaos.link import Link, Toxic
from chaos.words import Named, Word
from faults.link import OnLinks

_Group = tuple[Annotated[str, Word(Named.LINK)], ...]


class Partition(OnLinks):
    """What one group of services sends does not arrive at the other one, without any error.

    Connections are accepted and stay open, until the fault goes: then they are cut, as nobody
    knows what of them was lost. ``one_way`` lets pass what ``away`` sends.
    """

    word: ClassVar[str] = "partition"

    group: _Group = Field(
        min_length=1, description="one side: services, or `client` (shell patterns)"
    )
    away: _Group = Field(min_length=1, description="the other side: services, or `client`")
    one_way: bool = Field(False, description="only what `group` sends is lost")

    def toxics(self, context: FaultContext) -> Iterator[tuple[Link, Toxic]]:
        """Whatever carries something from one side to the other, whoever opened it."""
        for link in _between(context, self.group, self.away):
            yield link, _lost("upstream")
            if not self.one_way:
                yield link, _lost("downstream")
        for link in _between(context, self.away, self.group):
            yield link, _lost("downstream")
            if not self.one_way:
                yield link, _lost("upstream")


def _between(
    context: FaultContext, sources: tuple[str, ...], ends: tuple[str, ...]
) -> Iterator[Link]:
    yield from context.links(f"{'|'.join(sources)}>{'|'.join(ends)}")


def _lost(way: str) -> Toxic:
    return Toxic("timeout", "upstream" if way == "upstream" else "downstream", {"timeout": 0})
