"""Sightings: who has been seen at which point, and who is held there."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container

from chaos.engine.actors import Actors
from chaos.failpoints.arm import Arm
from chaos.fault import Armed
from chaos.hit import Hit
from chaos.point import When


class Sightings:
    """The hits of one round. The controller's thread appends to them, any thread may ask."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._hits: dict[int, list[Hit]] = defaultdict(list)
        """Arm → its hits so far; grows before the history tells of it."""
        self._last: dict[str, Hit] = {}
        """Actor → where it was last seen."""
        self._parking: dict[Arm, str] = {}
        """Arm of a pause → what it waits for."""
        self._delays: dict[int, float] = {}
        """Arm → for how many seconds it holds whom it strikes."""
        self.kept = 0
        """How many hits were kept: those that are in the history."""
        self.moves = 0
        """How many hits, accesses among them, were on behalf of some actor."""

    def see(self, hit: Hit) -> None:
        """Take note of where its actor is."""
        actor = self._actors.of(hit)
        self._last[actor] = hit
        self.moves += bool(actor)

    def keep(self, hit: Hit) -> None:
        """Keep a hit as one of its arm's."""
        self._hits[hit.arm].append(hit)
        self.kept += 1

    def expect(self, arm: Arm, *, parks: str = "", delay_s: float = 0.0) -> None:
        """Know of an arm how it holds: until something has happened, or so many seconds."""
        if parks:
            self._parking[arm] = parks
        if delay_s:
            self._delays[arm.number] = delay_s

    # ------------------------------------------------------------------ questions

    def of(self, *arms: Armed) -> list[Hit]:
        """The hits of these arms so far."""
        return [hit for arm in arms for hit in tuple(self._hits[arm.number])]

    def last(self, actor: str) -> Hit | None:
        """The last hit of an actor, of whatever arm."""
        return self._last.get(actor)

    def reached(self, point: str) -> list[Hit]:
        """Every time so far that the beginning of this point's function was reached."""
        return [
            hit
            for hits in list(self._hits.values())
            for hit in tuple(hits)
            if hit.alias == point and hit.action == "record" and hit.when is When.BEFORE
        ]

    def is_holding(self, service: str, since_ns: int = 0) -> bool:
        """Whether somebody is held in a service now who came there since then."""
        return any(
            not hit.released and hit.service == service and hit.at_ns >= since_ns
            for hits in list(self._hits.values())
            for hit in tuple(hits)
        )

    def parked(self) -> list[Hit]:
        """Everybody whom a fault holds until somebody else has done something."""
        return [hit for hit in self.of(*self._parking) if not hit.released]

    def is_let_go_before(self, end: str) -> bool:
        """Whether one of the parked goes on before this part of the plan ends."""
        waits = [arm for arm, until in self._parking.items() if until != end]
        return any(not hit.released for hit in self.of(*waits))

    def is_held_up(self, actor: str, gates: Container[int]) -> bool:
        """Whether a fault holds this actor now, and lets it go by itself: apart from these arms."""
        mine = self._actors.requests[actor]
        parking = {arm.number for arm in self._parking}
        hits = [
            hit
            for arm, hits in list(self._hits.items())
            if arm not in gates and arm not in parking
            for hit in tuple(hits)
            if hit.request in mine
        ]
        now_ns = time.monotonic_ns()
        return any(not h.released or now_ns < self._delayed_until_ns(h) for h in hits)

    def _delayed_until_ns(self, hit: Hit) -> float:
        return hit.at_ns + self._delays.get(hit.arm, 0.0) * 1e9
