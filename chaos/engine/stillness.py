"""Stillness: evidence that nothing at all moves in the target."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Container, Sequence

from chaos.engine.racers import Racer
from chaos.engine.stage import Stage
from chaos.hit import Hit
from chaos.safety import procfs
from chaos.target import ServiceState

_EQUAL_LOOKS = 5
"""So many looks must find the same where others are busy with looking."""

_IDLE = 0.2
"""The part of one core that a target in which nothing moves may use: for timers and retries."""


class Stillness:
    """Two looks, some time apart, that find everything the same."""

    def __init__(self, stage: Stage, gates: Container[int]) -> None:
        self._stage = stage
        self._gates = gates
        """The numbers of the arms whose holding is known of."""
        self._apart_s = stage.target.limits.blocked_s
        self._look: tuple[int, dict[Hit, str]] | None = None
        self._equal = 0
        """How many looks in a row have found what the one before had."""
        self._at = 0.0
        self._cpu_ns = 0
        self._start()

    def _start(self) -> None:
        self._look = None
        self._equal = 0
        self._at = self._began = time.monotonic()
        self._events = self._count()

    def _count(self) -> int:
        """How much has happened, but for hits that are nobody's: timers go on whatever happens."""
        sightings = self._stage.sightings
        return len(self._stage.history) - sightings.kept + sightings.moves

    def _changes(self) -> bool:
        """Whether a service is on its way up or down, within its time, and nobody is held there."""
        stage = self._stage
        limit_ns = stage.target.limits.start_s * 1e9
        changing = {one.service: one.began_ns for one in tuple(stage.changing.values())}
        late = {name for name, ns in changing.items() if time.monotonic_ns() > ns + limit_ns}
        starting = (s.name for s in stage.services.values() if s.state is ServiceState.STARTING)
        return any(
            name not in late and not stage.sightings.is_holding(name, changing.get(name, 0))
            for name in {*changing, *starting}
        )

    @property
    def left_s(self) -> float:
        """Seconds until the next look is worth it."""
        return max(0.001, self._at + self._apart_s - time.monotonic())

    def seen(self, moving: Sequence[Racer]) -> bool:
        """Whether these actors wait inside calls that do not return, and nothing else moves."""
        sightings = self._stage.sightings
        # A fault that holds somebody will let it go, and a service that starts will have started;
        # one that has not in its time waits for somebody, and is judged by the rest.
        acting = any(sightings.is_held_up(racer.label, self._gates) for racer in moving)
        if acting or self._count() != self._events:
            self._start()
        if time.monotonic() < self._at + self._apart_s:
            return False
        if self._changes():  # asked last, for it asks the kernel about every service
            self._start()
            return False
        services = [s.pid for s in self._stage.services.values() if s.pid]
        # Also one that the machine leaves waiting; and our own threads, but for this one.
        busy = any(map(procfs.is_running, services)) or procfs.is_running(
            os.getpid(), but=threading.get_native_id()
        )
        self._stage.controller.catch_up()
        last = [sightings.last(racer.label) for racer in moving]
        now = self._stage.controller.whereabouts(hit for hit in last if hit is not None)
        # Our own looking does not count.
        cpu_ns = procfs.cpu_ns([os.getpid(), *services]) - time.thread_time_ns()
        earlier, self._look = self._look, (self._count(), now)
        self._equal = self._equal + 1 if earlier == self._look else 0
        took_ns, self._cpu_ns = cpu_ns - self._cpu_ns, cpu_ns
        apart_ns = (time.monotonic() - self._at) * 1e9
        self._at = time.monotonic()
        if any(racer.looking for racer in moving):  # who looks in a way of his own is never idle
            return self._equal >= _EQUAL_LOOKS
        still = not busy and bool(self._equal) and took_ns < _IDLE * apart_ns
        return still and (all(hit in now for hit in last) or self._no_timer_helps())

    def _no_timer_helps(self) -> bool:
        """Whether no timer would take up again what no thread does.

        Of an actor that is in no call that is known, all that can be said is that its client
        waits, or something is under way, and that nothing moves.
        """
        target = self._stage.target
        if any(service.state is not ServiceState.READY for service in target.services.values()):
            return True  # it may well wait for that one
        slowest_s = max((point.every_s for point in target.points.values()), default=0.0)
        return time.monotonic() > self._began + slowest_s + self._apart_s
