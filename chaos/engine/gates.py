"""Gates: actors are held at points, and let go one at a time, as the schedule says.

An actor is a list of steps with all that they cause. It is *at rest* when everything that it does
is held, has ended, or waits for somebody else:

- its client thread is held in the request that it made (a *hit* of a gate), is about to make the
  next one, has looked for something in vain (an asserting operation), or has ended;
- what goes on for its requests by itself, as the target tells (:meth:`Target.under_way`), is held;
- or it is *blocked*: its thread stays inside one call, while nothing at all moves in the target. A
  service that is on its way up or down moves, and so does a timer until it has come round.

Once all are at rest the schedule chooses one of those that are held, and it goes on to its next
gate or its end. Between two choices the world stands still, so *always* invariants are checked
there.

Evidence of being blocked can be wrong: somebody who is slow looks like it. Then others go on beside
him, which costs that the round can be repeated exactly, and nothing else: whoever waits for another
is given all the time that a plan has before he counts as stuck, and a step beside which somebody
waits is taken to conflict with every other, so that no schedule is left out because of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from chaos.action import Action
from chaos.engine.footprint import Footprints
from chaos.engine.gate import Gate
from chaos.engine.racers import Parked, Racer, Racers
from chaos.engine.rest import Rest
from chaos.engine.stage import Stage
from chaos.errors import ChaosError
from chaos.failpoints.arm import Arm
from chaos.history import Kind
from chaos.hit import Hit
from chaos.invariant import Checked
from chaos.plan import Location
from chaos.schedule import CRASH, GOES_ON

MOST_STEPS = 1000
"""A race of more is taken for one that never ends."""

_HELD_AT_MOST_S = 3600.0
"""The agents let everybody go when we are gone; this is only the last resort."""

Options = dict[str, tuple[Racer, Hit | Parked]]
"""What can be chosen: whose step it is, and who is let go then."""


class Gates:
    """All gates of one round. Driven by the thread that performs ``together``."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._gates: list[Gate] = []
        self._arms: set[int] = set()
        """The numbers of the gates' arms."""
        self.racers = Racers(stage)
        self._rest = Rest(stage, self.racers, self._arms)
        self._footprints = Footprints(stage, self.racers)
        self._race = 0
        self._steps = 0
        self.standstill = ""
        """Where actors waited when none was left that could have let them go; '' when none did."""

    @property
    def blocked(self) -> bool:
        """Whether an actor ever had to wait for another one."""
        return self._rest.blocked

    def add(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Gate:
        """Hold these actors at these points; see :meth:`chaos.fault.FaultContext.gate`."""
        stage = self._stage
        if not self._gates:
            self._footprints.watch()
        pause = Action.pause(limit_s=_HELD_AT_MOST_S)
        places = [(actor, point) for actor in actors for point in points]
        armed = stage.arm_all(
            stage.request(point.model_copy(update={"actor": actor}), pause, times=None)
            for actor, point in places
        )
        arms: dict[str, list[Arm]] = {actor: [] for actor in actors}
        for (actor, _), arm in zip(places, armed, strict=True):
            arms[actor].append(arm)
        self._arms.update(arm.number for arm in armed)
        gate = Gate(stage, arms, points, crashes)
        self._gates.append(gate)
        return gate

    def expect(self, labels: Sequence[str]) -> list[str]:
        """Make ready to drive those of these actors that are gated; says which."""
        return self.racers.expect(labels, self._gates)

    def drive(self, threads: Sequence[threading.Thread]) -> None:
        """Start the actors and let them go one at a time until all have ended.

        Each is started when those before it are at rest, so that the way to the first gate is the
        same every time.

        Raises:
            ChaosError: one neither came to a gate nor ended, or they go on for ever; says which.
            ScheduleError: a schedule is being read back, and does not fit.
        """
        self._race += 1
        self._footprints.begin_race()
        try:
            for racer, thread in zip(self.racers, threads, strict=True):
                racer.started = True
                thread.start()
                self._rest.wait()
            self._footprints.begin()
            while self._more_to_come():
                self._grant(self._options())
        except BaseException:
            self.racers.call_off()
            raise
        finally:
            self.racers.let_go()
        for gate in self._gates:
            gate.finished = gate.finished or gate.arms.keys() <= self.racers.labels
        self._stage.tell(
            Kind.STEP, "plan", "race", f"the schedule was {self._stage.choices.schedule}"
        )

    # ------------------------------------------------------------------ one choice

    def _grant(self, options: Options) -> None:
        stage = self._stage
        self._check_length(options)
        held = {one.arm for _, one in options.values() if isinstance(one, Hit)}
        for gate in self._gates:
            gate.note_held(held)
        crashes = self._crashes(options)
        footprint = self._footprints.step()
        taken = stage.choose(GOES_ON, [*options, *crashes])
        choice = stage.choices.schedule.choices[-1]
        choice.race = self._race
        racer, waiting = options[taken.removeprefix(CRASH)]
        for other in self.racers:
            other.blocked = False
        footprint.grant()
        if isinstance(waiting, Parked):
            lane, where = "client", f"to {waiting.step}"
        else:
            lane, where = waiting.service, f"{waiting.when} {waiting.alias}"
        stage.tell(
            Kind.FAULT, lane, "race",
            f"{lane} dies with {racer.label} {where}" if taken in crashes
            else f"{racer.label} goes on {where}",
            actor=racer.label, step=len(stage.choices.schedule), dies=taken in crashes,
            waiting=[label for label in options if label != taken],
        )  # fmt: skip
        if taken in crashes:
            crashes[taken]()
        else:
            waiting.release()
        self._rest.wait()
        self._footprints.catch_up()
        choice.visible = self._observe(len(stage.choices.schedule))
        footprint.end(choice, sure=not racer.serves and taken not in crashes)

    def _check_length(self, options: Options) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            places = ", ".join(
                f"{name} {'to ' + one.step if isinstance(one, Parked) else one.alias}"
                for name, (_, one) in options.items()
            )
            raise ChaosError(
                f"after {MOST_STEPS} steps the race has not ended (now: {places}): does somebody "
                "go round in a circle until another one has done something? List other points, or "
                "let `schedules` be `{pct: 100}`"
            )

    def _crashes(self, options: Options) -> dict[str, Callable[[], None]]:
        gates = [gate for gate in self._gates if gate.crashes]
        return {
            f"{CRASH}{label}": _Crash(self._stage, gate, waiting, self.racers)
            for gate in gates
            for label, (racer, waiting) in options.items()
            if racer.label in gate.arms and isinstance(waiting, Hit)
        }

    def _observe(self, step: int) -> bool:
        """Check what must hold always; whether an observer could have seen this step."""
        stage = self._stage
        if not any(item.checked is Checked.ALWAYS for item in stage.invariants):
            return False
        return stage.observe(f"step {step}")

    # ------------------------------------------------------------------ who can be chosen

    def _more_to_come(self) -> bool:
        """Whether anybody can be chosen; who waits for something has a plan's deadline for it."""
        stage = self._stage
        began = time.monotonic()
        known = len(stage.history)
        stuck: set[str] = set()
        while not self._options():
            waiting = [racer for racer in self.racers if self._rest.is_waiting(racer)]
            stuck |= {racer.label for racer in waiting if racer.blocked and not racer.looking}
            if stuck and not self.standstill:
                self.standstill = self._whereabouts(waiting)
            # Whom a fault holds it lets go at once, or when this race is over.
            patient = any(racer.blocked or racer.looking for racer in waiting)
            patience_s = stage.deadline_s if patient else 2 * stage.target.limits.blocked_s
            if not waiting or time.monotonic() > began + patience_s:
                break
            for racer in waiting:
                racer.blocked = False
            self._rest.wait_for_an_event(stage.target.limits.poll_s)
            self._rest.wait()
        if stuck and not self._is_stuck(stuck, known):
            self.standstill = ""
        return bool(self._options())

    def _is_stuck(self, stuck: set[str], since: int) -> bool:
        """Whether one who was stuck has not come out of it, but by losing patience."""
        return any(self.racers[label].blocked for label in stuck) or any(
            event.kind is Kind.INDETERMINATE and event.actor in stuck
            for event in self._stage.history.since(since)
        )

    def _whereabouts(self, waiting: Sequence[Racer]) -> str:
        return "; ".join(
            f"{racer.label} waits in {hit.service} since {hit.when} {hit.alias}"
            if (hit := self._stage.sightings.last(racer.label))
            else f"{racer.label} waits"
            for racer in waiting
            if racer.blocked
        )

    def _options(self) -> Options:
        """Who can be chosen, now that all are at rest."""
        options: Options = {}
        for racer in self.racers:
            waiting = self._rest.waiting(racer)
            racer.names = {one: name for one, name in racer.names.items() if one in waiting}
            for one in waiting:
                name = racer.label
                if len(waiting) > 1:
                    place = "client" if isinstance(one, Parked) else one.service
                    name = f"{name}@{place}"
                while one not in racer.names and name in racer.names.values():
                    name += "'"
                options[racer.names.setdefault(one, name)] = racer, one
        return options


class _Crash:
    """The death of the service that holds an actor."""

    def __init__(self, stage: Stage, gate: Gate, hit: Hit, racers: Racers) -> None:
        self._stage = stage
        self._gate = gate
        self._hit = hit
        self._racers = racers

    def __call__(self) -> None:
        """Kill it and see it dead: whoever else was held there is not held any more."""
        self._gate.crashes -= 1
        self._stage.kill(self._stage.services[self._hit.service])
        for hit in self._stage.hits_of(*self._racers.arms):
            if hit.service == self._hit.service:
                hit.release()
