"""Rest: when everything that the actors of a race do is held, has ended, or waits for another."""

from __future__ import annotations

import time
from collections.abc import Container

from chaos.engine.racers import Parked, Racer, Racers
from chaos.engine.stage import Stage
from chaos.engine.stillness import Stillness
from chaos.errors import ChaosError
from chaos.hit import Hit

_LOOKS = 10
"""So long, in times of what nothing takes that moves, must an actor look before it is in vain."""


class Rest:
    """Whether the actors of a race are at rest (:mod:`chaos.engine.gates` says what that is)."""

    def __init__(self, stage: Stage, racers: Racers, gates: Container[int]) -> None:
        self._stage = stage
        self._racers = racers
        self._gates = gates
        """The numbers of the gates' arms."""
        self.blocked = False
        """Whether an actor ever had to wait for another one."""

    def wait(self) -> None:
        """Return when every actor is at rest, and all who look have looked once more.

        Raises:
            ChaosError: one was not by the deadline; says which.
        """
        self._wait_until_none_moves()
        looking = [racer.idle for racer in self._racers if racer.idle is not None]
        for racer in self._racers:
            racer.idle = None
        if looking:
            for idle in looking:
                idle.set()
            self._wait_until_none_moves()

    def wait_for_an_event(self, seconds: float, seen: tuple[int, int] | None = None) -> None:
        """Wait until something happens that may change who is at rest, at most so long."""
        known = seen or self._seen()
        self._stage.history.wait_for(lambda: self._seen() != known, seconds)

    def waiting(self, racer: Racer) -> list[Hit | Parked]:
        """Where it is held, in an order that is the same every time."""
        held = [hit for hit in self._stage.hits_of(*racer.arms) if not hit.released]
        held.sort(key=lambda hit: (hit.service, hit.alias, hit.when, hit.at_ns))
        parked = racer.parked
        return [*held, *([parked] if parked is not None and racer.is_parked else [])]

    def is_waiting(self, racer: Racer) -> bool:
        """Whether something of it has neither ended nor can be let go."""
        return not racer.ended or racer.blocked or bool(self._held_elsewhere(racer))

    # ------------------------------------------------------------------ who moves

    def _wait_until_none_moves(self) -> None:
        stage = self._stage
        limits = stage.target.limits
        patience_s = stage.deadline_s + max(
            (limits.start_s + self._racers.held_at_most_s(racer.label) for racer in self._racers
             if racer.serves), default=0.0,
        )  # fmt: skip
        until = time.monotonic() + patience_s
        stillness = Stillness(stage, self._gates)
        poll_s = limits.poll_s
        alone_since = None
        while True:
            seen = self._seen()
            moving = self._moving()
            if not moving:
                return
            stage.reactions.raise_error()
            now = time.monotonic()
            if now > until:
                names = ", ".join(racer.label for racer in moving)
                raise ChaosError(
                    f"{names} neither came to a listed point nor ended within "
                    f"{patience_s:g} s, after "
                    f"{stage.choices.schedule or 'the start'}"
                )
            # A look that waits in a way of its own never stands still; one look is not so slow.
            alone_since = (alone_since or now) if all(r.looking for r in moving) else None
            in_vain = alone_since is not None and now > alone_since + _LOOKS * limits.blocked_s
            if in_vain or stillness.seen(moving):
                for racer in moving:
                    racer.blocked = True
                self.blocked = self.blocked or not in_vain
                continue
            wait_s = stillness.left_s
            if not any(self._client_moves(racer) for racer in moving):
                poll_s = min(poll_s * 1.5, limits.blocked_s)
                wait_s = min(wait_s, poll_s)
            self.wait_for_an_event(wait_s, seen)

    def _seen(self) -> tuple[int, int]:
        return len(self._stage.history), self._racers.told

    def _moving(self) -> list[Racer]:
        """Who is not at rest."""
        stage = self._stage
        self._let_strangers_go()
        started = [racer for racer in self._racers if racer.started and not racer.blocked]
        moving = [racer for racer in started if self._client_moves(racer)]
        if moving:
            return moving
        stage.controller.catch_up()  # nobody is held in a service that has died
        moving = [racer for racer in started if self._client_moves(racer)]
        # Before the question what is under way: who comes to a gate after that is not at rest.
        held = {racer.label: self._held(racer) for racer in started}
        requests = [r for racer in started for r in stage.actors.requests[racer.label]]
        if moving or not stage.target.under_way(requests):
            return moving
        return [
            racer
            for racer in started
            if held[racer.label]
            < (not racer.ended and not racer.looking)
            + len(stage.target.under_way(stage.actors.requests[racer.label]))
        ]

    def _let_strangers_go(self) -> None:
        """A service that starts is known by its name, but does the work of other actors as well."""
        for racer in self._racers:
            for hit in self._stage.hits_of(*racer.arms) if racer.serves else ():
                if not hit.released and self._stage.actor_of(hit) not in ("", racer.label):
                    hit.release()

    def _client_moves(self, racer: Racer) -> bool:
        """Whether its client is under way: neither held, nor waiting to look, nor at its end."""
        if racer.ended or racer.is_parked:
            return False
        if racer.looking:
            return racer.idle is None
        # What goes on for a request that was answered is not the client, but has its name.
        actors = self._stage.actors
        answered = {*actors.requests[racer.label]} - {actors.serving.get(racer.label)}
        held = [one for one in self.waiting(racer) if isinstance(one, Hit)]
        held += [hit for hit in self._stage.sightings.parked() if actors.of(hit) == racer.label]
        return all(hit.request in answered for hit in held)

    def _held(self, racer: Racer) -> int:
        return len(self.waiting(racer)) + self._held_elsewhere(racer)

    def _held_elsewhere(self, racer: Racer) -> int:
        """How many of its doings another fault holds until somebody else has done something."""
        parked = self._stage.sightings.parked()
        return sum(self._stage.actor_of(hit) == racer.label for hit in parked)
