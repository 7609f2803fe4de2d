"""The contract between the framework and a system under test.

A *target* is one running instance of the system: its services (processes or containers), the
points where faults may strike, the operations a client can perform and the *world* an observer
sees. Nothing here knows what the system does.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from chaos.errors import ChaosError
from chaos.point import Point

F = TypeVar("F", bound=Callable[..., Any])


class ServiceState(StrEnum):
    """Life of a service as its runner sees it."""

    STARTING = "starting"
    READY = "ready"
    FROZEN = "frozen"
    DEAD = "dead"


class Service(Protocol):
    """One process or container that can be killed and brought back by itself."""

    @property
    def name(self) -> str:
        """Unique in the target, e.g. ``compute-host1``."""

    @property
    def state(self) -> ServiceState:
        """Its state now."""

    @property
    def pid(self) -> int | None:
        """Process id on this machine, None while dead."""

    @property
    def log(self) -> Path:
        """File that collects its standard output and error over all restarts."""

    def start(self, deadline_s: float = 10.0) -> None:
        """Start it and return when it is ready; does nothing when it is ready already.

        Raises:
            NotReady: it was not ready after ``deadline_s`` seconds; says how its log ends.
        """

    def kill(self) -> None:
        """End it by SIGKILL and return when it is gone."""

    def freeze(self) -> None:
        """Stop it from running (SIGSTOP, container pause) until :meth:`thaw`."""

    def thaw(self) -> None:
        """Let it run on."""

    def wait_dead(self, deadline_s: float) -> bool:
        """Wait until it has ended by itself; False when it still lives after ``deadline_s``."""


class OperationFailed(ChaosError):
    """The target answered a client operation with a clear no; ``status`` is its code."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OperationIndeterminate(ChaosError):
    """The answer was lost (cut connection, time-out): it may or may not have happened."""


class ExpectationFailed(ChaosError):
    """An operation that asserts something found it otherwise."""


@dataclass(slots=True)
class Scope:
    """What one run of a plan knows: the things that it made, by the names the plan gave them.

    ``made`` maps a plan's name (``vm``) to the target's id; operations fill and read it.
    ``request_id`` identifies the actor whose operation this is; it travels with the request.
    """

    client: Any
    made: dict[str, str] = field(default_factory=dict)
    request_id: str = ""
    deadline_s: float = 10.0

    def actor(self, request_id: str) -> Scope:
        """The same scope on behalf of another actor; ``made`` is shared."""
        return Scope(self.client, self.made, request_id, self.deadline_s)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a client can do: ``function(scope, **arguments)``.

    The function returns a short, JSON-able account of the answer (for the history), and raises
    :class:`OperationFailed`, :class:`OperationIndeterminate` or :class:`ExpectationFailed`.
    """

    name: str
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The arguments a plan may give, in order, without the scope."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])


class Operations(dict[str, Operation]):
    """A catalogue of operations, filled by decorating functions.

    >>> operations = Operations()
    >>> @operations.named("ledger.deposit")
    ... def deposit(scope, amount: int): ...
    """

    def named(self, name: str) -> Callable[[F], F]:
        """Register the decorated function under ``name``."""

        def register(function: F) -> F:
            self[name] = Operation(name, function)
            return function

        return register


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


class Record(Protocol):
    """A row of a world: a frozen dataclass with a key that is unique in its table."""

    @property
    def key(self) -> str:
        """Identity across observations."""


@dataclass(frozen=True)
class World:
    """Base of every target's immutable world: each field is a tuple of :class:`Record`.

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


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """What a runner must put into a service so that faults can strike there.

    ``environment(service)`` are the variables that let the agent in that process find and trust
    the controller; ``label`` marks everything that belongs to this run (``CHAOS_RUN=label``).
    """

    label: str
    run_dir: Path
    environment: Callable[[str], Mapping[str, str]]
    on_service: Callable[[str, str, Mapping[str, Any]], None]
    """Called as (service, event, facts); event: started, ready, exited, killed, frozen, thawed."""


class Target(ABC):
    """A system under test that can be started, reset, observed and struck."""

    name: str
    points: Mapping[str, Point]
    """Alias used in plans → where it lies in this target."""
    operations: Operations
    bugs: Mapping[str, str]
    """Bug switch → one line that tells which defect it re-creates."""
    request_id_reader: str = ""
    """``module:function`` inside the services that returns the current request's id, or None."""

    @property
    @abstractmethod
    def services(self) -> Mapping[str, Service]:
        """All services by name, running or not."""

    @abstractmethod
    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Boot everything with these bug switches on; return when every service is ready."""

    @abstractmethod
    def stop(self) -> None:
        """End every service and release what the target holds; safe to call twice."""

    @abstractmethod
    def reset(self, bugs: frozenset[str]) -> None:
        """Back to the pristine world, all services ready, without a cold boot."""

    @abstractmethod
    def client(self) -> Any:
        """What operations use to talk to the target; one per scope."""

    @abstractmethod
    def observe(self) -> World:
        """The world at this moment."""

    @abstractmethod
    def settle(self, deadline_s: float) -> None:
        """Return as soon as nothing is queued or in flight.

        Raises:
            NotSettled: something still was after ``deadline_s`` seconds; says what.
        """

    @abstractmethod
    def clean_up(self, client: Any, deadline_s: float) -> None:
        """Delete, as a user would, everything that the plan's user owns; used by *recoverable*."""
