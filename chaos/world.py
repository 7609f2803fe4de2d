"""What an observer sees of the target at one moment, and how two moments differ."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two worlds, readable by a person."""

    table: str
    key: str
    field: str  # "" when the whole record appeared or vanished
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.field:
            return f"{self.table} {self.key}: {self.field} {self.before!r} → {self.after!r}"
        word, record = ("vanished", self.before) if self.after is None else ("appeared", self.after)
        told = ", ".join(
            f"{f.name} {value!r}"
            for f in fields(record)
            if (value := getattr(record, f.name)) is not None and str(value) not in self.key
        )
        return f"{self.table} {self.key}: {word}" + (f" ({told})" if told else "")


class Row(Protocol):
    """A record of a world: a frozen dataclass with a key that is unique in its table."""

    @property
    def key(self) -> str:
        """Identity across observations."""


@dataclass(frozen=True)
class World:
    """Base of every target's immutable world: each field is a tuple of :class:`Row`.

    ``past`` names the fields that tell of the past (such as a log of actions): they may grow
    without anything having leaked.
    """

    past: ClassVar[frozenset[str]] = frozenset()

    def leaks_since(self, earlier: World) -> tuple[Change, ...]:
        """What differs from ``earlier``, apart from the record of the past."""
        changes = self.changes_since(earlier)
        return tuple(change for change in changes if change.table not in self.past)

    def changes_since(self, earlier: World) -> tuple[Change, ...]:
        """What differs from ``earlier``, table by table, record by record, field by field."""
        found: list[Change] = []
        for table in fields(self):
            if getattr(self, table.name) == getattr(earlier, table.name):
                continue  # mostly so
            then = {record.key: record for record in getattr(earlier, table.name)}
            now = {record.key: record for record in getattr(self, table.name)}
            for key in sorted(then.keys() | now.keys()):
                old, new = then.get(key), now.get(key)
                if old is None or new is None:
                    found.append(Change(table.name, key, "", old, new))
                    continue
                found.extend(
                    Change(table.name, key, f.name, getattr(old, f.name), getattr(new, f.name))
                    for f in fields(old)
                    if getattr(old, f.name) != getattr(new, f.name)
                )
        return tuple(found)
