"""Gates: actors are held at points, and let go one at a time, as the schedule says.

An actor is a list of steps with all that they cause. It is *at rest* when everything that it does
is held, has ended, or waits for somebody else:

- its client thread is held in the request that it made (a *hit* of a gate), is about to make the
  next one, only looks (an asserting operation), or has ended;
- what goes on for its requests by itself, as the target tells (:meth:`Target.under_way`), is held;
- or it is *blocked*: its thread stays inside one call, while nothing at all moves in the target.

Once all are at rest the schedule chooses one of those that are held, and it goes on to its next
gate or its end. Between two choices the world stands still, so *always* invariants are checked
there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError
from chaos.failpoints.arm import Arm
from chaos.fault import Strike
from chaos.history import Kind
from chaos.hit import Hit
from chaos.invariant import NO_DEADLOCK, Checked, Violation
from chaos.plan import Location
from chaos.point import Access
from chaos.safety import procfs
from chaos.search.partial_order import GOES_ON

CRASH = "crash:"
"""How the option starts that kills the service which holds an actor."""

_IDLE = 0.2
"""The part of one core that a target in which nothing moves may use: for timers and retries."""


@dataclass(slots=True, eq=False)
class Parked:
    """An actor's client, about to begin its next step."""

    step: str
    free: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let it begin."""
        self.free.set()


@dataclass(slots=True, eq=False)
class Runner:
    """One actor under way."""

    label: str
    arms: list[Arm]
    started: bool = False
    ended: bool = False
    """Whether its client has performed its last step."""
    looking: bool = False
    blocked: bool = False
    parked: Parked | None = None
    steps: int = 0
    """How often it was let go."""


Options = dict[str, tuple[Runner, Hit | Parked]]
"""What can be chosen: whose step it is, and who is let go then."""


class Gate(Strike):
    """The actors and points of one ``race``; it struck when its actors have ended."""

    def __init__(
        self, stage: Stage, arms: dict[str, list[Arm]], points: Sequence[Location], crashes: int
    ):
        self.stage = stage
        self.arms = arms
        self.points = points
        self.crashes = crashes
        """How many deaths there may still be."""
        self.finished = False
        self.passed: set[str] = set()
        """The points at which some actor was held."""

    def wait(self, deadline_s: float) -> bool:
        """Wait until all its actors have ended."""
        return self.stage.history.wait_for(lambda: self.finished, deadline_s)

    def missing(self) -> str:
        """Which actors never came to one of its points."""
        idle = [actor for actor, arms in self.arms.items() if not any(a.hits for a in arms)]
        return f"{', '.join(idle)} never came to any of the race's points." if idle else ""


class Gates:
    """All gates of one round. Driven by the thread that performs ``together``."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._gates: list[Gate] = []
        self._runners: dict[str, Runner] = {}
        self._tells = False
        self._granted_ns = 0
        self.blocked = False
        """Whether an actor ever had to wait for another one."""
        self.deadlocked = False
        """Whether its actors wait for each other for ever."""

    def add(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Gate:
        """Hold these actors at these points; see :meth:`chaos.fault.FaultContext.gate`."""
        stage = self._stage
        if not self._gates:
            self._tells = stage.watch_accesses()
        pause = Action.pause(limit_s=stage.deadline_s * 2)
        places = [(actor, point) for actor in actors for point in points]
        armed = stage.arm_all(
            stage.request(point.model_copy(update={"actor": actor}), pause, times=None)
            for actor, point in places
        )
        arms: dict[str, list[Arm]] = {actor: [] for actor in actors}
        for (actor, _), arm in zip(places, armed, strict=True):
            arms[actor].append(arm)
        gate = Gate(stage, arms, points, crashes)
        self._gates.append(gate)
        return gate

    # ------------------------------------------------------------------ for an actor's thread

    def enter(self, label: str, step: str) -> None:
        """Wait until this actor may begin its next step; at once when it is not gated."""
        runner = self._runners.get(label)
        if runner is None or runner.ended:
            return
        parked = runner.parked = Parked(step)
        self._stage.history.ask_again()
        parked.free.wait(self._stage.deadline_s * 2)
        runner.parked = None

    def look(self, label: str, looking: bool) -> None:
        """Say that this actor only looks from now on, or that it does not any more."""
        if label in self._runners:
            self._runners[label].looking = looking
            self._stage.history.ask_again()

    def leave(self, label: str) -> None:
        """Say that this actor's client has performed its last step."""
        if label in self._runners:
            self._runners[label].ended = True
            self._stage.history.ask_again()

    # ------------------------------------------------------------------ for the engine

    def drives(self, label: str) -> bool:
        """Whether this actor goes on only when it is let go."""
        return label in self._runners and not self._runners[label].ended

    def expect(self, labels: Sequence[str]) -> list[str]:
        """Make ready to drive those of these actors that are gated; says which."""
        gated = [label for label in labels if any(label in gate.arms for gate in self._gates)]
        self._runners = {
            label: Runner(label, [arm for gate in self._gates for arm in gate.arms.get(label, ())])
            for label in gated
        }
        return gated

    def drive(self, threads: Sequence[threading.Thread]) -> None:
        """Start the actors and let them go one at a time until all have ended.

        Each is started when those before it are at rest, so that the way to the first gate is the
        same every time.

        Raises:
            ChaosError: one neither came to a gate nor ended; says which.
            ScheduleError: a schedule is being read back, and does not fit.
        """
        try:
            for runner, thread in zip(self._runners.values(), threads, strict=True):
                runner.started = True
                thread.start()
                self._wait_for_rest()
            while options := self._options():
                self._grant(options)
        finally:
            for runner in self._runners.values():
                runner.ended = True  # nobody would let it go: what it still causes just goes on
            arms = [arm for runner in self._runners.values() for arm in runner.arms]
            self._stage.controller.disarm(arms)
        for gate in self._gates:
            gate.finished = gate.finished or gate.arms.keys() <= self._runners.keys()
        self._stage.tell(
            Kind.STEP, "plan", "race", f"the schedule was {self._stage.choices.schedule}"
        )

    # ------------------------------------------------------------------ one choice

    def _grant(self, options: Options) -> None:
        stage = self._stage
        crashes = self._crashes(options)
        taken = stage.choose(GOES_ON, [*options, *crashes])
        choice = stage.choices.schedule.choices[-1]
        runner, waiting = options[taken.removeprefix(CRASH)]
        runner.steps += 1
        freed = {other.label for other in self._runners.values() if other.blocked}
        for other in self._runners.values():
            other.blocked = False
        self._granted_ns = time.monotonic_ns()
        if isinstance(waiting, Parked):
            lane, where = "client", f"to {waiting.step}"
        else:
            lane, where = waiting.service, f"{waiting.when} {waiting.alias}"
            self._note_passed(runner, waiting)
        stage.tell(
            Kind.FAULT, lane, "race",
            f"{lane} dies with {runner.label} {where}" if taken in crashes
            else f"{runner.label} goes on {where}",
            actor=runner.label, step=len(stage.choices.schedule), dies=taken in crashes,
            waiting=[label for label in options if label != taken],
        )  # fmt: skip
        seen = len(stage.accesses)
        if taken in crashes:
            crashes[taken]()
        else:
            waiting.release()
        self._wait_for_rest()
        if self._tells:
            stage.controller.catch_up()  # what a callee touched may come after what its caller did
        changed = self._observe(len(stage.choices.schedule))
        choice.visible = changed
        if self._tells and taken not in crashes:
            choice.touched = self._touched(runner, seen, freed)

    def _note_passed(self, runner: Runner, hit: Hit) -> None:
        for gate in self._gates:
            for arm, point in zip(gate.arms.get(runner.label, ()), gate.points, strict=False):
                if arm.number == hit.arm:
                    gate.passed.add(str(point))

    def _crashes(self, options: Options) -> dict[str, Callable[[], None]]:
        gates = [gate for gate in self._gates if gate.crashes]
        return {
            f"{CRASH}{label}": _Crash(self._stage, gate, waiting)
            for gate in gates
            for label, (runner, waiting) in options.items()
            if runner.label in gate.arms and isinstance(waiting, Hit)
        }

    def _observe(self, step: int) -> bool:
        """Check what must hold always; whether an observer could have seen this step."""
        stage = self._stage
        if not any(item.checked is Checked.ALWAYS for item in stage.invariants):
            return False
        return stage.observe(f"step {step}")

    def _touched(self, runner: Runner, since: int, freed: set[str]) -> frozenset[Access] | None:
        """What was touched since, but for what the other actors did; None: not known.

        Those who had waited may have gone on by this step: what they do then belongs to it too, and
        its order with what they did before matters.
        """
        others = {
            request
            for other in self._runners.values()
            if other is not runner and other.label not in freed
            for request in self._stage.requests[other.label]
        }
        mine = [
            accesses
            for request, at_ns, accesses in self._stage.accesses[since:]
            if request not in others and at_ns >= self._granted_ns
        ]
        if not self._stage.requests[runner.label] or None in mine:
            return None
        if any(one.blocked for one in self._runners.values()):
            freed = set(self._runners)  # whose next step is another one now: it may let this go on
        moved = {Access(f"actor/{label}", writes=True) for label in {runner.label, *freed}}
        return frozenset(moved.union(*(accesses or () for accesses in mine)))

    # ------------------------------------------------------------------ rest

    def _options(self) -> Options:
        """Who can be chosen, now that all are at rest; empty when all have ended."""
        options: Options = {}
        for runner in self._runners.values():
            waiting = self._waiting(runner)
            for one in waiting:
                name = runner.label
                if len(waiting) > 1:
                    place = "client" if isinstance(one, Parked) else one.service
                    name = f"{name}@{place}"
                while name in options:
                    name += "'"
                options[name] = runner, one
        if not options and any(runner.blocked for runner in self._runners.values()):
            self._tell_deadlock()
        return options

    def _tell_deadlock(self) -> None:
        stage = self._stage
        self.deadlocked = True
        places = [
            f"{runner.label} waits in {hit.service} since {hit.when} {hit.alias}"
            for runner in self._runners.values()
            if runner.blocked and (hit := stage.last_seen(runner.label))
        ]
        moment = f"after {stage.choices.schedule or 'the start'}"
        stage.violate(Violation(NO_DEADLOCK, moment, ("; ".join(places),)))

    def _waiting(self, runner: Runner) -> list[Hit | Parked]:
        held = [hit for hit in self._stage.hits_of(*runner.arms) if not hit.released]
        held.sort(key=lambda hit: (hit.service, hit.at_ns))
        return [*held, *([runner.parked] if runner.parked else [])]

    def _wait_for_rest(self) -> None:
        """Return when every actor is at rest.

        Raises:
            ChaosError: one was not by the deadline; says which.
        """
        stage = self._stage
        until = time.monotonic() + stage.deadline_s
        poll_s = stage.target.limits.poll_s
        stillness = _Stillness(stage)
        while moving := [r for r in self._runners.values() if not self._at_rest(r)]:
            stage.raise_reaction_error()
            if time.monotonic() > until:
                names = ", ".join(runner.label for runner in moving)
                raise ChaosError(
                    f"{names} neither came to a listed point nor ended within "
                    f"{stage.deadline_s:g} s, after {stage.choices.schedule or 'the start'}"
                )
            if stillness.seen(moving):
                for runner in moving:
                    runner.blocked = True
                self.blocked = True
                return
            client_moves = any(self._client_moves(runner) for runner in moving)
            wait_s = stillness.left_s if client_moves else min(poll_s, stillness.left_s)
            self._wait_for_an_event(wait_s)

    def _wait_for_an_event(self, seconds: float) -> None:
        history = self._stage.history
        known = len(history)
        history.wait_for(lambda: len(history) > known, seconds)

    def _at_rest(self, runner: Runner) -> bool:
        if runner.blocked or not runner.started:
            return True
        if self._client_moves(runner):
            return False
        under_way = self._stage.target.under_way(self._stage.requests[runner.label])
        held = len(self._waiting(runner)) + self._held_elsewhere(runner)
        client = 0 if runner.ended or runner.looking else 1
        return held >= client + len(under_way)

    def _client_moves(self, runner: Runner) -> bool:
        """Whether its client is under way: neither held, nor looking, nor at its end."""
        if runner.ended or runner.looking:
            return False
        return not self._waiting(runner) and not self._held_elsewhere(runner)

    def _held_elsewhere(self, runner: Runner) -> int:
        """How many of its doings another fault holds until somebody else has done something."""
        requests = self._stage.requests[runner.label]
        return sum(hit.request in requests for hit in self._stage.parked())


class _Crash:
    """The death of the service that holds an actor."""

    def __init__(self, stage: Stage, gate: Gate, hit: Hit) -> None:
        self.stage = stage
        self.gate = gate
        self.hit = hit

    def __call__(self) -> None:
        """Kill it and see it dead."""
        self.gate.crashes -= 1
        self.stage.services[self.hit.service].kill()
        self.hit.release()


class _Stillness:
    """Evidence that nothing moves: two looks, some time apart, that find everything the same."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._apart_s = stage.target.limits.blocked_s
        self._look: tuple[int, dict[Hit, str]] | None = None
        self._at = 0.0
        self._cpu_ns = 0
        self._start()

    def _start(self) -> None:
        self._look = None
        self._at = time.monotonic()
        self._events = self._count()

    def _count(self) -> int:
        """How much has happened, but for hits that are nobody's: timers go on whatever happens."""
        return len(self._stage.history) - self._stage.hits + self._stage.moves

    @property
    def left_s(self) -> float:
        """Seconds until the next look is worth it."""
        return max(0.001, self._at + self._apart_s - time.monotonic())

    def seen(self, moving: Sequence[Runner]) -> bool:
        """Whether these actors wait inside calls that do not return, and nothing else moves."""
        acting = any(self._stage.held(runner.label) for runner in moving)
        if acting or self._count() != self._events:  # a fault that holds somebody will let it go
            self._start()
        if time.monotonic() < self._at + self._apart_s:
            return False
        # One that was never seen is judged by the rest alone: its client waits, and nothing moves.
        last = [self._stage.last_seen(runner.label) for runner in moving]
        hits = [hit for hit in last if hit is not None]
        now = self._stage.controller.whereabouts(hits)
        services = [s.pid for s in self._stage.services.values() if s.pid]
        cpu_ns = procfs.cpu_ns([os.getpid(), *services])
        earlier, self._look = self._look, (self._events, now)
        took_ns, self._cpu_ns = cpu_ns - self._cpu_ns, cpu_ns
        apart_ns = (time.monotonic() - self._at) * 1e9
        self._at = time.monotonic()
        return earlier == self._look and len(now) == len(hits) and took_ns < _IDLE * apart_ns
