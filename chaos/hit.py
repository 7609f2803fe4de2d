"""The evidence of a strike: one time that an armed point was reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from chaos.point import When


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """One time that an armed point was reached and its action taken.

    ``arm`` is the number of the arm that acted; ``number`` counts that arm's hits from 1; ``at_ns``
    is the machine's monotonic clock, read by the agent itself; ``told`` are the values of the
    arguments that the arm asked for, as text; ``raised`` is the type of the exception with which
    the call ended, for a point after it; ``main`` says whether that was the first process of the
    service, and not a worker; ``whole`` whether the action is done to the whole service.
    """

    alias: str
    function: str
    when: When
    action: str
    service: str
    pid: int
    thread: str
    request: str | None
    arm: int
    number: int
    at_ns: int
    raised: str = ""
    main: bool = True
    whole: bool = True
    told: Mapping[str, str] = field(default_factory=dict)
    _free: Event | None = field(default=None, repr=False)
    _let_go: Callable[[], None] = field(default=lambda: None, repr=False)
    _reported: tuple[object, int] = field(default=(None, 0), repr=False)
    """By which agent, under which number of its own."""

    @property
    def released(self) -> bool:
        """Whether the actor goes on; True also where none was held."""
        return self._free is None or self._free.is_set()

    def release(self) -> None:
        """Let a paused actor go on; does nothing when it does already."""
        if self._free is not None and not self._free.is_set():
            self._free.set()
            self._let_go()
