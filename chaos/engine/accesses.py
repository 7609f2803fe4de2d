"""Accesses: what the services read and write, as they tell, and on whose behalf."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from chaos.engine.actors import Actors
from chaos.hit import Hit
from chaos.point import Access, AccessPoint, Point

_log = logging.getLogger(__name__)


class Accesses:
    """The accesses of one round, in the order in which they were told."""

    def __init__(
        self, actors: Actors, points: Mapping[str, Point], watched: Mapping[int, AccessPoint]
    ) -> None:
        self._actors = actors
        self._points = points
        self._watched = watched
        """The arms that tell."""
        self.told: list[tuple[str, int, tuple[Access, ...] | None]] = []
        """By which request, when (monotonic nanoseconds), what; None: the target could not tell."""
        self._wants: dict[str, tuple[str, tuple[Access, ...]]] = {}
        """Actor → what it was about to touch where it was last seen, and by which request."""
        self._timers: set[tuple[int, str]] = set()
        """Threads, by process and name, in which a timer of a service has come round."""

    def note(self, hit: Hit) -> bool:
        """Take note of a hit; whether it was an access, and nothing else."""
        timer = self._is_timer(hit)
        point = self._watched.get(hit.arm)
        found = _read(point, hit) if point is not None else ()
        self._wants[self._actors.of(hit)] = hit.request or "", found or ()
        if point is None:
            return False
        if timer and found is not None:  # it looks all the time, whatever anybody does
            found = tuple(access for access in found if access.writes)
        self.told.append((hit.request or "", hit.at_ns, found))
        return True

    def _is_timer(self, hit: Hit) -> bool:
        """Whether a timer brought this about, and not somebody's request."""
        thread = hit.pid, hit.thread
        point = self._points.get(hit.alias)
        if hit.request:
            self._timers.discard(thread)
        elif point is not None and point.every_s:
            self._timers.add(thread)
        return thread in self._timers

    def is_told(self, actor: str) -> bool:
        """Whether an actor was last seen about to touch what some actor's other request has.

        That may be its own: what it causes after an answer can wait for itself.
        """
        mine, wanted = self._wants.get(actor, ("", ()))
        others = [
            access
            for request, _, accesses in self.told
            if request != mine and self._actors.of_request(request)
            for access in accesses or ()
        ]
        return any(mine.conflicts(theirs) for mine in wanted for theirs in others)


def _read(access: AccessPoint, hit: Hit) -> tuple[Access, ...] | None:
    try:
        return tuple(access.read(hit.service, hit.told))
    except Exception:
        _log.exception("the target cannot tell what %s touches", access.point.function)
        return None
