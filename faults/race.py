"""Races: several actors held at points and let go one at a time, in every order.

Each actor (a labelled step of one ``together``) stops at each of the listed points until its
request is answered. When all are held or answered, one of them is let go to its next point. The
orders of those choices are walked depth first, one round for each, so that every interleaving of
the listed points is executed once. The walk needs no model of the target: what can be chosen is
seen while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError, PlanError, Vacuous
from chaos.failpoints.controller import Arm, Hit
from chaos.fault import Fault, Strike, Variation
from chaos.history import Kind
from chaos.plan import Location


@dataclass(slots=True)
class Order(Variation):
    """One order of the actors; ``wanted`` says how it starts, ``chosen`` what was done."""

    wanted: tuple[str, ...] = ()
    chosen: list[str] = field(default_factory=list)
    choices: list[tuple[str, ...]] = field(default_factory=list)
    """At each step, the actors that could have been let go."""
    passed: set[int] = field(default_factory=set)
    """The places, in the race's list of points, at which some actor was held."""

    def choose(self, ready: tuple[str, ...]) -> str:
        """Which of the ``ready`` actors goes next: as wanted, else the first.

        Raises:
            ChaosError: the wanted one cannot go: the target did not behave as in the round before.
        """
        wanted = self.wanted[len(self.chosen) :]
        actor = wanted[0] if wanted else ready[0]
        if actor not in ready:
            raise self._impossible(", ".join(ready))
        self.chosen.append(actor)
        self.choices.append(ready)
        return actor

    def end(self) -> None:
        """All actors have ended.

        Raises:
            ChaosError: the wanted order goes on.
        """
        if len(self.chosen) < len(self.wanted):
            raise self._impossible("nobody")

    def _impossible(self, ready: str) -> ChaosError:
        step = len(self.chosen)
        only = "only " if ready != "nobody" else ""
        return ChaosError(
            f"this order cannot be executed: step {step + 1} wants `{self.wanted[step]}`, but "
            f"{only}{ready} could go after {' '.join(self.chosen) or 'the start'}"
        )

    def following(self) -> tuple[str, ...] | None:
        """How the next order of a depth-first walk starts; None when all were executed."""
        for step in reversed(range(len(self.chosen))):
            ready = self.choices[step]
            place = ready.index(self.chosen[step]) + 1
            if place < len(ready):
                return (*self.chosen[:step], ready[place])
        return None

    def __str__(self) -> str:
        return " ".join(self.chosen)


class Race(Fault):
    """Several actors go through the listed points in every order, one order a round."""

    located: ClassVar[bool | None] = False

    actors: tuple[str, ...] = Field(min_length=2, description="labels of steps in one `together`")
    points: tuple[Location, ...] = Field(min_length=1, description="where each of them is held")
    orders: (
        Literal["all"]
        | Annotated[int, Field(ge=1)]
        | Annotated[tuple[str, ...], Field(min_length=1)]
    ) = Field("all", description="`all`, the first N, or a list such as `[first second first]`")
    limit: int = Field(1000, ge=1, description="`all` refuses more orders than this")

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """Points and actors must exist."""
        for index, actor in enumerate(self.actors):
            yield ("actors", index), "actor", actor
        for index, location in enumerate(self.points):
            yield ("points", index), "point", location.point
            if location.service:
                yield ("points", index), "service", location.service

    def variations(self, order: str = "") -> Iterator[Variation]:
        """Every order, the stated ones, or just the given one, such as ``first second second``.

        Raises:
            Vacuous: after the last order, when there was never a choice or, unless one order was
                asked for, a listed point never held anybody: then nothing raced there.
        """
        executed: list[Order] = []
        for current in self._orders(order):
            executed.append(current)
            yield current
        passed = set[int]().union(*(done.passed for done in executed))
        never = [str(at) for place, at in enumerate(self.points) if place not in passed]
        if never and not order:
            raise Vacuous(f"no actor was ever held at {', '.join(never)} in {len(executed)} orders")
        if not any(len(ready) > 1 for done in executed for ready in done.choices):
            raise Vacuous(
                "there was only one order: the actors never waited at the points at the same time"
            )

    def _orders(self, order: str) -> Iterator[Order]:
        if order:
            yield Order(self._read(order))
            return
        if isinstance(self.orders, tuple):
            yield from (Order(self._read(stated)) for stated in self.orders)
            return
        most = self.limit if self.orders == "all" else self.orders
        following: tuple[str, ...] = ()
        for _ in range(most):
            current = Order(following)
            yield current
            then = current.following()
            if then is None:
                return
            following = then
        if self.orders == "all":
            raise ChaosError(
                f"this race has more than {most} orders; list fewer points or actors, "
                "set `orders: N` for the first N, or raise `limit`"
            )

    def _read(self, order: str) -> tuple[str, ...]:
        names = tuple(order.split())
        unknown = [name for name in names if name not in self.actors]
        if unknown:
            raise PlanError(
                f"the order names `{unknown[0]}`, but the actors are {', '.join(self.actors)}"
            )
        return names

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Hold every actor at every point, and start to let them go."""
        assert isinstance(variation, Order)
        arms = {
            actor: [
                stage.arm(
                    location.model_copy(update={"actor": actor}),
                    Action.pause(limit_s=stage.deadline_s * 2),
                    times=None,
                )
                for location in self.points
            ]
            for actor in self.actors
        }
        racing = Racing(stage, arms, variation)
        stage.react("race", racing.run)
        for actor in self.actors:
            stage.react(f"race-{actor}", partial(racing.retire, actor))
        return racing


class Racing(Strike):
    """One round of a race under way."""

    def __init__(self, stage: Stage, arms: dict[str, list[Arm]], order: Order) -> None:
        self.stage = stage
        self.arms = arms
        self.order = order
        self._finished = False

    def run(self) -> None:
        """Let the actors go one at a time until all have ended."""
        try:
            self._let_go()
        except BaseException:
            for arm in (arm for arms in self.arms.values() for arm in arms):
                arm.disarm()  # nobody would ever let them go
            raise
        self._finished = True
        self.stage.tell(Kind.STEP, "plan", "race", f"the order was {self.order}")

    def retire(self, actor: str) -> None:
        """Once an actor's request is answered, hold nothing of what it still causes.

        When that comes to a point is a matter of time, and would make the orders one too.
        """
        if self.stage.wait_ended(actor, self.stage.deadline_s):
            for arm in self.arms[actor]:
                arm.disarm()

    def _let_go(self) -> None:
        until = time.monotonic() + self.stage.deadline_s
        while ready := self._all_waiting(max(0.0, until - time.monotonic())):
            actor = self.order.choose(tuple(sorted(ready, key=list(self.arms).index)))
            hit = ready[actor]
            self.order.passed.add([arm.number for arm in self.arms[actor]].index(hit.arm))
            self.stage.tell(
                Kind.FAULT, hit.service, "race", f"{actor} goes on {hit.when} {hit.alias}",
                actor=actor, step=len(self.order.chosen), waiting=[a for a in ready if a != actor],
            )  # fmt: skip
            hit.release()
        self.order.end()

    def _all_waiting(self, deadline_s: float) -> dict[str, Hit]:
        """Who is held, once every actor is held or has ended.

        Raises:
            ChaosError: an actor neither came to a point nor ended; says which.
        """
        stage = self.stage

        def held() -> dict[str, Hit | None]:
            # Only whom the race itself holds: another fault may hold an actor for its own end.
            return {
                actor: next((hit for hit in stage.hits_of(*arms) if not hit.released), None)
                if actor not in stage.ended
                else None
                for actor, arms in self.arms.items()
            }

        def decided() -> bool:
            ended = stage.ended
            return all(hit or actor in ended for actor, hit in held().items())

        if not stage.wait_for(decided, deadline_s):
            lost = [a for a, hit in held().items() if hit is None and a not in stage.ended]
            raise ChaosError(
                f"{', '.join(lost)} neither came to a listed point nor ended within "
                f"{stage.deadline_s} s, after {self.order or 'the start'}: does one actor wait "
                "for the other at a place that is not listed?"
            )
        return {actor: hit for actor, hit in held().items() if hit is not None}

    def wait(self, deadline_s: float) -> bool:
        """Wait until all actors have ended."""
        return self.stage.history.wait_for(lambda: self._finished, deadline_s)

    def missing(self) -> str:
        """Which actors never came to a listed point."""
        idle = [actor for actor, arms in self.arms.items() if not any(a.hits for a in arms)]
        return f"{', '.join(idle)} never came to any of the race's points." if idle else ""
