"""What happened, in order: the events of a run, and the client operations seen through them.

Vocabulary after Jepsen: an operation is *invoked* and then ends *ok*, *fail* or *indeterminate*.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chaos.errors import ChaosError


class Kind(StrEnum):
    """What an event is about, which says what its lane, name and data mean.

    ========== ============ ===================== ================================================
    kind       lane         name                  data
    ========== ============ ===================== ================================================
    step       ``plan``     phase of the engine   ``text``
    invoke     ``client``   operation             ``operation`` (id), ``arguments``, ``allow``
    ok         ``client``   operation             ``operation``, ``answer``
    fail       ``client``   operation             ``operation``, ``error``, ``status``
    indeterminate ``client`` operation            ``operation``, ``error``
    hit        service      point alias           ``when``, ``action``, ``request``, ``thread``
    fault      service      kind of fault         ``text``, and the fault's own facts
    undo       service      kind of fault         ``text``
    service    service      started, ready, …     ``pid`` and other facts
    world      ``world``    moment                ``changes`` (list of sentences)
    violation  ``world``    invariant             ``evidence`` (list of sentences), ``moment``
    ========== ============ ===================== ================================================
    """

    STEP = "step"
    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INDETERMINATE = "indeterminate"
    HIT = "hit"
    FAULT = "fault"
    UNDO = "undo"
    SERVICE = "service"
    WORLD = "world"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``at_ns`` is the machine's monotonic clock."""

    at_ns: int
    kind: Kind
    lane: str
    name: str
    actor: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """One client operation with its outcome; ``ended_ns`` is None while it is open."""

    operation: str
    actor: str
    arguments: Mapping[str, Any]
    invoked_ns: int
    ended_ns: int | None
    outcome: Kind | None
    status: int | None = None
    error: str = ""
    answer: Any = None
    allow: tuple[int, ...] = ()


class History:
    """The events of one round of a plan; append-only and safe to use from any thread."""

    def __init__(self, sink: Callable[[Event], None] = lambda _: None) -> None:
        self._events: list[Event] = []
        self._sink = sink
        self._refused: Exception | None = None
        self._lock = threading.Condition(threading.RLock())

    def add(self, kind: Kind, lane: str, name: str, *, actor: str = "", **data: Any) -> Event:
        """Append an event that happens now and hand it to the sink (the journal)."""
        with self._lock:
            event = Event(time.monotonic_ns(), kind, lane, name, actor, data)
            self._events.append(event)
            try:
                self._sink(event)
            except Exception as error:
                # Whoever tells of an event, a service's own thread too, cannot mend the disk.
                self._refused = self._refused or error
            self._lock.notify_all()
        return event

    def check(self) -> None:
        """Do nothing when the sink took every event.

        Raises:
            ChaosError: it did not; says why.
        """
        if self._refused is not None:
            raise ChaosError(f"not every event could be recorded: {self._refused}")

    def wait_for(self, happened: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until ``happened()``, asked after each event; False after ``deadline_s`` seconds."""
        with self._lock:
            return self._lock.wait_for(happened, deadline_s)

    def ask_again(self) -> None:
        """Let everyone who waits ask again, though there was no event."""
        with self._lock:
            self._lock.notify_all()

    def __iter__(self) -> Iterator[Event]:
        with self._lock:
            return iter(tuple(self._events))

    def of(self, *kinds: Kind) -> tuple[Event, ...]:
        """The events of these kinds, in order."""
        return tuple(event for event in self if event.kind in kinds)

    @property
    def operations(self) -> tuple[Done, ...]:
        """Every client operation that was invoked, in order of invocation."""
        ends = {
            event.data["operation"]: event
            for event in self.of(Kind.OK, Kind.FAIL, Kind.INDETERMINATE)
        }
        done = []
        for event in self.of(Kind.INVOKE):
            end = ends.get(event.data["operation"])
            done.append(
                Done(
                    operation=event.name,
                    actor=event.actor,
                    arguments=event.data["arguments"],
                    invoked_ns=event.at_ns,
                    ended_ns=end.at_ns if end else None,
                    outcome=end.kind if end else None,
                    status=end.data.get("status") if end else None,
                    error=end.data.get("error", "") if end else "",
                    answer=end.data.get("answer") if end else None,
                    allow=tuple(event.data.get("allow", ())),
                )
            )
        return tuple(done)
