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
    invoke     ``client``   operation             ``operation`` (id), ``arguments``, ``request``,
                                                  ``allow`` (codes), ``asserts`` (only looks)
    ok         ``client``   operation             ``operation``, ``answer``
    fail       ``client``   operation             ``operation``, ``error``, ``status``
    indeterminate ``client`` operation            ``operation``, ``error``
    hit        service      point alias           ``when``, ``action``, ``request``, ``thread``
    fault      service      kind of fault         ``text``, ``began_ns`` where it is told later,
                                                  and the fault's own facts
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
    """One thing that happened. ``at_ns`` is the machine's monotonic clock.

    ``number`` is its place in the history, from 1: the order in which events arrived, which is not
    always that of ``at_ns``.
    """

    at_ns: int
    kind: Kind
    lane: str
    name: str
    actor: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """One client operation with its outcome; ``ended_ns`` is None while it is open.

    ``allow`` are the status codes that its step accepts, ``request`` is the id under which it ran,
    ``asserts`` whether it only looks.
    """

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
    request: str = ""
    asserts: bool = False


class History:
    """The events of one round of a plan; append-only.

    Any thread may call anything here, at any time, whatever locks it holds: the history's own lock
    guards its list and nothing else, and is never held while foreign code runs (the sink, or what
    :meth:`wait_for` asks). The price is that the sink is called by every thread that adds, and may
    be called by two at once: :attr:`Event.number`, not the order of the calls, is the order of the
    events. Each event was handed over before its ``add`` returns.

    >>> told = []
    >>> history = History(told.append)
    >>> event = history.add(Kind.FAULT, "vault", "kill", text="SIGKILL")
    >>> told == [event]
    True
    """

    def __init__(self, sink: Callable[[Event], None] = lambda _: None) -> None:
        self._events: list[Event] = []
        self._sink = sink
        self._refused: Exception | None = None
        self._changed = threading.Condition(threading.Lock())
        self._changes = 0

    def add(
        self,
        kind: Kind,
        lane: str,
        name: str,
        *,
        actor: str = "",
        at_ns: int | None = None,
        **data: Any,
    ) -> Event:
        """Append an event and hand it to the sink (the journal) before returning.

        ``at_ns`` is when it happened, where somebody else looked at the clock; omitted: now.
        """
        with self._changed:
            moment_ns = time.monotonic_ns() if at_ns is None else at_ns
            event = Event(moment_ns, kind, lane, name, actor, data, len(self._events) + 1)
            self._events.append(event)
        try:
            self._sink(event)
        except Exception as error:
            # Whoever tells of an event, a service's own thread too, cannot mend the disk.
            self._refused = self._refused or error
        self.ask_again()  # who acts upon an event finds it recorded
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
        until = None if deadline_s is None else time.monotonic() + deadline_s
        while True:
            seen = self._changes  # before asking: what comes meanwhile is asked about again
            if happened():
                return True
            left_s = None if until is None else until - time.monotonic()
            with self._changed:
                moved = self._changed.wait_for(lambda: self._changes != seen, left_s)  # noqa: B023
            if not moved or (left_s is not None and left_s <= 0):
                return happened()

    def ask_again(self) -> None:
        """Let everyone who waits ask again, though there was no event."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        with self._changed:
            return iter(tuple(self._events))

    def since(self, number: int) -> tuple[Event, ...]:
        """The events after the one with this number; 0: all."""
        with self._changed:
            return tuple(self._events[number:])

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
                    request=event.data.get("request", ""),
                    asserts=event.data.get("asserts", False),
                )
            )
        return tuple(done)
