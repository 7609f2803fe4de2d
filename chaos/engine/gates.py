"""Gates: actors are held at points, and let go one at a time, as the schedule says.

An actor is a list of steps with all that they cause. It is *at rest* when everything that it does
is held, has ended, or waits for somebody else:

- its client thread is held in the request that it made (a *hit* of a gate), is about to make the
  next one, has looked for something in vain (an asserting operation), or has ended;
- what goes on for its requests by itself, as the target tells (:meth:`Target.under_way`), is held;
- or it is *blocked*: its thread stays inside one call, while nothing at all moves in the target.

Once all are at rest the schedule chooses one of those that are held, and it goes on to its next
gate or its end. Between two choices the world stands still, so *always* invariants are checked
there.

Evidence of being blocked can be wrong: somebody who is slow looks like it. Then others go on beside
him, which costs that the round can be repeated exactly, and nothing else: whoever waits for another
is given all the time that a plan has before he counts as stuck, and a step beside which somebody
waits is taken to conflict with every other, so that no schedule is left out because of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError
from chaos.failpoints.arm import Arm
from chaos.fault import Strike
from chaos.history import Event, Kind
from chaos.hit import Hit
from chaos.invariant import Checked
from chaos.operation import ExpectationFailed, Scope
from chaos.plan import Location
from chaos.point import Access
from chaos.safety import procfs
from chaos.schedule import CRASH, GOES_ON
from chaos.target import ServiceState

_STARTING = ServiceState.STARTING

MOST_STEPS = 1000
"""A race of more is taken for one that never ends."""

_HELD_AT_MOST_S = 3600.0
"""The agents let everybody go when we are gone; this is only the last resort."""

_HELD_PATIENCE = 4
"""Who is held cannot help being late: it may be held for so many times a plan's deadline."""

_EQUAL_LOOKS = 5
"""So many looks must find the same where others are busy with looking."""

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
    """One actor under way. Its own thread writes what its client does, the driver the rest."""

    label: str
    arms: list[Arm]
    serves: bool
    """Whether it kills or starts services: what that touches, no access tells."""
    driven: bool = True
    """Whether it goes on only when it is let go."""
    started: bool = False
    ended: bool = False
    """Whether its client has performed its last step."""
    looking: bool = False
    idle: threading.Event | None = None
    """It has looked in vain, and looks again when this is set."""
    blocked: bool = False
    parked: Parked | None = None
    names: dict[Hit | Parked, str] = field(default_factory=dict)
    """What it was called as an option, from when it could be chosen until it goes on."""

    @property
    def is_parked(self) -> bool:
        """Whether it waits for its next step; not from the moment at which it may begin it."""
        return self.parked is not None and not self.parked.free.is_set()


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
        self._ours: set[int] = set()
        """The numbers of the gates' arms."""
        self._runners: dict[str, Runner] = {}
        self._told = 0
        """How often an actor's own thread has said what it does."""
        self._race = 0
        self._called_off = False
        self._steps = 0
        self._tells = False
        self._accounted = 0
        """How many accesses belong to a step already."""
        self.blocked = False
        """Whether an actor ever had to wait for another one."""
        self.standstill = ""
        """Where actors waited when none was left that could have let them go; '' when none did."""

    def add(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Gate:
        """Hold these actors at these points; see :meth:`chaos.fault.FaultContext.gate`."""
        stage = self._stage
        if not self._gates:
            self._tells = stage.watch_accesses()
        pause = Action.pause(limit_s=_HELD_AT_MOST_S)
        places = [(actor, point) for actor in actors for point in points]
        armed = stage.arm_all(
            stage.request(point.model_copy(update={"actor": actor}), pause, times=None)
            for actor, point in places
        )
        arms: dict[str, list[Arm]] = {actor: [] for actor in actors}
        for (actor, _), arm in zip(places, armed, strict=True):
            arms[actor].append(arm)
        self._ours.update(arm.number for arm in armed)
        gate = Gate(stage, arms, points, crashes)
        self._gates.append(gate)
        return gate

    def _others_count(self) -> bool:
        """Whether a fault waits for whoever comes first: then every order makes a difference."""
        return any(
            arm.request.requests is None
            and arm.request.action.word != "record"
            and arm.remaining != 0
            for arm in self._stage.arms
        )

    # ------------------------------------------------------------------ for an actor's thread

    def drives(self, label: str) -> bool:
        """Whether this actor goes on only when it is let go."""
        return label in self._runners and self._runners[label].driven

    def enter(self, label: str, step: str) -> bool:
        """Wait until this actor may begin its next step; False when it never will.

        At once when it is not gated.
        """
        runner = self._runners.get(label)
        if runner is None:
            return True
        parked = runner.parked = Parked(step)
        self._tell()
        if not runner.driven:  # asked after it is known that we wait: nobody is left waiting
            parked.release()
        parked.free.wait()
        runner.parked = None
        return not self._called_off

    def look(self, label: str, looking: bool) -> None:
        """Say that this actor only looks from now on, or that it does not any more."""
        if label in self._runners:
            self._runners[label].looking = looking
            self._tell()

    def look_again(self, label: str) -> bool:
        """Say that a look was in vain, and wait until another is worth it; False: none is.

        False at once where the actor is not gated: it has to wait in its own way.
        """
        runner = self._runners.get(label)
        if runner is None:
            return False
        idle = runner.idle = threading.Event()
        self._tell()
        if not runner.driven:
            idle.set()
        idle.wait()
        return runner.driven

    def patient(self, label: str, scope: Scope) -> Scope:
        """The scope of an operation that looks: between two looks it waits for the others."""
        if not self.drives(label):
            return scope

        def sleep(_: float) -> None:
            if not self.look_again(label):
                raise ExpectationFailed(
                    "it was not so when nobody else had anything left to do, nor "
                    f"{self._stage.deadline_s:g} s later"
                )

        deadline_s = scope.deadline_s + self.held_at_most_s(label)
        return replace(scope, deadline_s=deadline_s, sleep=sleep)

    def held_at_most_s(self, label: str) -> float:
        """Seconds for which what this actor does may be held; 0: it is never."""
        return _HELD_PATIENCE * self._stage.deadline_s if self.drives(label) else 0.0

    def leave(self, label: str) -> None:
        """Say that this actor's client has performed its last step."""
        if label in self._runners:
            self._runners[label].ended = True
            self._tell()

    def _tell(self) -> None:
        self._told += 1
        self._stage.history.ask_again()

    # ------------------------------------------------------------------ for the engine

    def expect(self, labels: Sequence[str]) -> list[str]:
        """Make ready to drive those of these actors that are gated; says which."""
        gated = [label for label in labels if any(label in gate.arms for gate in self._gates)]
        self._runners = {
            label: Runner(
                label,
                [arm for gate in self._gates for arm in gate.arms.get(label, ())],
                serves=self._stage.serves(label),
            )
            for label in gated
        }
        return gated

    def drive(self, threads: Sequence[threading.Thread]) -> None:
        """Start the actors and let them go one at a time until all have ended.

        Each is started when those before it are at rest, so that the way to the first gate is the
        same every time.

        Raises:
            ChaosError: one neither came to a gate nor ended, or they go on for ever; says which.
            ScheduleError: a schedule is being read back, and does not fit.
        """
        self._race += 1
        self._tells = self._tells and not self._others_count()
        try:
            for runner, thread in zip(self._runners.values(), threads, strict=True):
                runner.started = True
                thread.start()
                self._wait_for_rest()
            self._accounted = len(self._stage.accesses)
            while self._more_to_come():
                self._grant(self._options())
        except BaseException:
            self._called_off = True  # who is let go now begins nothing new
            raise
        finally:
            self._let_everybody_go()
        for gate in self._gates:
            gate.finished = gate.finished or gate.arms.keys() <= self._runners.keys()
        self._stage.tell(
            Kind.STEP, "plan", "race", f"the schedule was {self._stage.choices.schedule}"
        )

    def _let_everybody_go(self) -> None:
        for runner in self._runners.values():
            runner.driven = False
            if runner.parked is not None:
                runner.parked.release()
            if runner.idle is not None:
                runner.idle.set()
        self._stage.controller.disarm([arm for r in self._runners.values() for arm in r.arms])

    # ------------------------------------------------------------------ one choice

    def _grant(self, options: Options) -> None:
        stage = self._stage
        self._check_length(options)
        self._note_held(options)
        crashes = self._crashes(options)
        unsure, blocked = self._is_unsure(), self._blocked()
        known = len(stage.history)
        taken = stage.choose(GOES_ON, [*options, *crashes])
        choice = stage.choices.schedule.choices[-1]
        choice.race = self._race
        runner, waiting = options[taken.removeprefix(CRASH)]
        for other in self._runners.values():
            other.blocked = False
        granted_ns = time.monotonic_ns()
        if isinstance(waiting, Parked):
            lane, where = "client", f"to {waiting.step}"
        else:
            lane, where = waiting.service, f"{waiting.when} {waiting.alias}"
        stage.tell(
            Kind.FAULT, lane, "race",
            f"{lane} dies with {runner.label} {where}" if taken in crashes
            else f"{runner.label} goes on {where}",
            actor=runner.label, step=len(stage.choices.schedule), dies=taken in crashes,
            waiting=[label for label in options if label != taken],
        )  # fmt: skip
        if taken in crashes:
            crashes[taken]()
        else:
            waiting.release()
        self._wait_for_rest()
        if self._tells:
            stage.controller.catch_up()  # what was touched before the last thing that is known
        blocked += self._blocked()
        choice.waited = bool(blocked)
        choice.hidden = not all(blocked)
        choice.visible = self._observe(len(stage.choices.schedule))
        unsure = unsure or runner.serves or taken in crashes or self._is_unsure()
        unsure = unsure or any(map(self._disturbs, stage.history.since(known)))
        choice.touched = self._touched(granted_ns, sure=self._tells and not unsure)

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

    def _note_held(self, options: Options) -> None:
        held = {one.arm for _, one in options.values() if isinstance(one, Hit)}
        for gate in self._gates:
            for arms in gate.arms.values():
                places = zip(arms, gate.points, strict=True)
                gate.passed.update(str(point) for arm, point in places if arm.number in held)

    def _crashes(self, options: Options) -> dict[str, Callable[[], None]]:
        gates = [gate for gate in self._gates if gate.crashes]
        return {
            f"{CRASH}{label}": _Crash(self._stage, gate, waiting, self._held_in)
            for gate in gates
            for label, (runner, waiting) in options.items()
            if runner.label in gate.arms and isinstance(waiting, Hit)
        }

    def _held_in(self, service: str) -> Iterator[Hit]:
        arms = [arm for runner in self._runners.values() for arm in runner.arms]
        return (hit for hit in self._stage.hits_of(*arms) if hit.service == service)

    def _observe(self, step: int) -> bool:
        """Check what must hold always; whether an observer could have seen this step."""
        stage = self._stage
        if not any(item.checked is Checked.ALWAYS for item in stage.invariants):
            return False
        return stage.observe(f"step {step}")

    # ------------------------------------------------------------------ what a step touched

    def _is_unsure(self) -> bool:
        """Whether somebody waits for what others do: which of their steps lets him go is hidden."""
        looking = (runner.looking and not runner.ended for runner in self._runners.values())
        return bool(self._blocked()) or any(looking) or self._stage.is_let_go_by_a_step()

    def _blocked(self) -> list[bool]:
        """For each actor who waits for another: whether the target tells for what."""
        return [
            self._stage.is_told(runner.label) for runner in self._runners.values() if runner.blocked
        ]

    def _disturbs(self, event: Event) -> bool:
        """Whether a fault struck, or a service came or went: no access tells of that."""
        match event.kind:
            case Kind.SERVICE | Kind.UNDO:
                return True
            case Kind.FAULT:
                return event.name != "race"
            case Kind.HIT:
                return event.data["action"] not in ("record", "pause")
        return False

    def _touched(self, granted_ns: int, *, sure: bool) -> frozenset[Access] | None:
        """All that was touched in a step, whoever did it: None when that is not known.

        The world stood still before, so whatever happened then was brought about by the step.
        """
        stage = self._stage
        new = stage.accesses[self._accounted :]
        self._accounted += len(new)
        late = [accesses for _, at_ns, accesses in new if at_ns < granted_ns]
        choices = stage.choices.schedule.choices
        if late and len(choices) > 1:  # it belongs to the step before, or to this one
            choices[-2].touch(late)
        if not sure:
            return None
        choices[-1].touched = frozenset()
        choices[-1].touch([accesses for _, _, accesses in new])
        return choices[-1].touched

    # ------------------------------------------------------------------ who can be chosen

    def _more_to_come(self) -> bool:
        """Whether anybody can be chosen; who waits for something has a plan's deadline for it."""
        stage = self._stage
        began = time.monotonic()
        known = len(stage.history)
        stuck: set[str] = set()
        while not self._options():
            waiting = [r for r in self._runners.values() if self._waits(r)]
            stuck |= {r.label for r in waiting if r.blocked and not r.looking}
            if stuck and not self.standstill:
                self.standstill = self._whereabouts(waiting)
            # Whom a fault holds it lets go at once, or when this race is over.
            patient = any(runner.blocked or runner.looking for runner in waiting)
            patience_s = stage.deadline_s if patient else 2 * stage.target.limits.blocked_s
            if not waiting or time.monotonic() > began + patience_s:
                break
            for runner in waiting:
                runner.blocked = False
            self._wait_for_an_event(stage.target.limits.poll_s)
            self._wait_for_rest()
        if stuck and not self._is_stuck(stuck, known):
            self.standstill = ""
        return bool(self._options())

    def _waits(self, runner: Runner) -> bool:
        return not runner.ended or runner.blocked or bool(self._held_elsewhere(runner))

    def _is_stuck(self, stuck: set[str], since: int) -> bool:
        """Whether one who was stuck has not come out of it, but by losing patience."""
        return any(self._runners[label].blocked for label in stuck) or any(
            event.kind is Kind.INDETERMINATE and event.actor in stuck
            for event in self._stage.history.since(since)
        )

    def _whereabouts(self, waiting: Sequence[Runner]) -> str:
        return "; ".join(
            f"{runner.label} waits in {hit.service} since {hit.when} {hit.alias}"
            if (hit := self._stage.last_seen(runner.label))
            else f"{runner.label} waits"
            for runner in waiting
            if runner.blocked
        )

    def _options(self) -> Options:
        """Who can be chosen, now that all are at rest."""
        options: Options = {}
        for runner in self._runners.values():
            waiting = self._waiting(runner)
            runner.names = {one: name for one, name in runner.names.items() if one in waiting}
            for one in waiting:
                name = runner.label
                if len(waiting) > 1:
                    place = "client" if isinstance(one, Parked) else one.service
                    name = f"{name}@{place}"
                while one not in runner.names and name in runner.names.values():
                    name += "'"
                options[runner.names.setdefault(one, name)] = runner, one
        return options

    def _let_strangers_go(self) -> None:
        """A service that starts is known by its name, but does the work of other actors as well."""
        for runner in self._runners.values():
            for hit in self._stage.hits_of(*runner.arms) if runner.serves else ():
                if not hit.released and self._stage.actor_of(hit) not in ("", runner.label):
                    hit.release()

    def _waiting(self, runner: Runner) -> list[Hit | Parked]:
        held = [hit for hit in self._stage.hits_of(*runner.arms) if not hit.released]
        held.sort(key=lambda hit: (hit.service, hit.alias, hit.when, hit.at_ns))
        parked = runner.parked
        return [*held, *([parked] if parked is not None and runner.is_parked else [])]

    # ------------------------------------------------------------------ rest

    def _wait_for_rest(self) -> None:
        """Return when every actor is at rest, and all who look have looked once more.

        Raises:
            ChaosError: one was not by the deadline; says which.
        """
        self._wait_until_none_moves()
        looking = [runner.idle for runner in self._runners.values() if runner.idle is not None]
        for runner in self._runners.values():
            runner.idle = None
        if looking:
            for idle in looking:
                idle.set()
            self._wait_until_none_moves()

    def _wait_until_none_moves(self) -> None:
        stage = self._stage
        limits = stage.target.limits
        patience_s = stage.deadline_s + max(
            (limits.start_s + self.held_at_most_s(r.label) for r in self._runners.values()
             if r.serves), default=0.0,
        )  # fmt: skip
        until = time.monotonic() + patience_s
        stillness = _Stillness(stage, self._ours)
        poll_s = limits.poll_s
        alone_since = None
        while True:
            seen = self._seen()
            moving = self._moving()
            if not moving:
                return
            stage.raise_reaction_error()
            now = time.monotonic()
            if now > until:
                names = ", ".join(runner.label for runner in moving)
                raise ChaosError(
                    f"{names} neither came to a listed point nor ended within "
                    f"{patience_s:g} s, after "
                    f"{stage.choices.schedule or 'the start'}"
                )
            # A look that waits in a way of its own never stands still.
            alone_since = (alone_since or now) if all(r.looking for r in moving) else None
            in_vain = alone_since is not None and now > alone_since + limits.blocked_s
            if in_vain or stillness.seen(moving):
                for runner in moving:
                    runner.blocked = True
                self.blocked = self.blocked or not in_vain
                continue
            wait_s = stillness.left_s
            if not any(self._client_moves(runner) for runner in moving):
                poll_s = min(poll_s * 1.5, limits.blocked_s)
                wait_s = min(wait_s, poll_s)
            self._wait_for_an_event(wait_s, seen)

    def _seen(self) -> tuple[int, int]:
        return len(self._stage.history), self._told

    def _wait_for_an_event(self, seconds: float, seen: tuple[int, int] | None = None) -> None:
        known = seen or self._seen()
        self._stage.history.wait_for(lambda: self._seen() != known, seconds)

    def _moving(self) -> list[Runner]:
        """Who is not at rest."""
        stage = self._stage
        self._let_strangers_go()
        started = [r for r in self._runners.values() if r.started and not r.blocked]
        moving = [runner for runner in started if self._client_moves(runner)]
        if moving:
            return moving
        stage.controller.catch_up()  # nobody is held in a service that has died
        moving = [runner for runner in started if self._client_moves(runner)]
        # Before the question what is under way: who comes to a gate after that is not at rest.
        held = {runner.label: self._held(runner) for runner in started}
        requests = [request for runner in started for request in stage.requests[runner.label]]
        if moving or not stage.target.under_way(requests):
            return moving
        return [
            runner
            for runner in started
            if held[runner.label]
            < (not runner.ended and not runner.looking)
            + len(stage.target.under_way(stage.requests[runner.label]))
        ]

    def _held(self, runner: Runner) -> int:
        return len(self._waiting(runner)) + self._held_elsewhere(runner)

    def _client_moves(self, runner: Runner) -> bool:
        """Whether its client is under way: neither held, nor waiting to look, nor at its end."""
        if runner.ended or runner.is_parked:
            return False
        if runner.looking:
            return runner.idle is None
        # What goes on for a request that was answered is not the client, but has its name.
        stage = self._stage
        answered = {*stage.requests[runner.label]} - {stage.serving.get(runner.label)}
        held = [one for one in self._waiting(runner) if isinstance(one, Hit)]
        elsewhere = [hit for hit in stage.parked() if stage.actor_of(hit) == runner.label]
        return all(hit.request in answered for hit in (*held, *elsewhere))

    def _held_elsewhere(self, runner: Runner) -> int:
        """How many of its doings another fault holds until somebody else has done something."""
        return sum(self._stage.actor_of(hit) == runner.label for hit in self._stage.parked())


class _Crash:
    """The death of the service that holds an actor."""

    def __init__(
        self, stage: Stage, gate: Gate, hit: Hit, held_in: Callable[[str], Iterator[Hit]]
    ) -> None:
        self.stage = stage
        self.gate = gate
        self.hit = hit
        self.held_in = held_in

    def __call__(self) -> None:
        """Kill it and see it dead: whoever else was held there is not held any more."""
        self.gate.crashes -= 1
        self.stage.kill(self.stage.services[self.hit.service])
        for hit in self.held_in(self.hit.service):
            hit.release()


class _Stillness:
    """Evidence that nothing moves: two looks, some time apart, that find everything the same."""

    def __init__(self, stage: Stage, ours: set[int]) -> None:
        self._stage = stage
        self._ours = ours
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
        self._at = time.monotonic()
        self._events = self._count()

    def _count(self) -> int:
        """How much has happened, but for hits that are nobody's: timers go on whatever happens."""
        return len(self._stage.history) - self._stage.hits + self._stage.moves

    def _starts(self) -> bool:
        """Whether a service is on its way up, and nobody is held there."""
        starting = {s.name for s in self._stage.services.values() if s.state is _STARTING}
        return bool(starting) and not starting & self._stage.holding()

    @property
    def left_s(self) -> float:
        """Seconds until the next look is worth it."""
        return max(0.001, self._at + self._apart_s - time.monotonic())

    def seen(self, moving: Sequence[Runner]) -> bool:
        """Whether these actors wait inside calls that do not return, and nothing else moves."""
        # A fault that holds somebody will let it go, and a service that starts will have started.
        acting = any(self._stage.is_held_up(runner.label, self._ours) for runner in moving)
        if acting or self._starts() or self._count() != self._events:
            self._start()
        if time.monotonic() < self._at + self._apart_s:
            return False
        services = [s.pid for s in self._stage.services.values() if s.pid]
        # Also one that the machine leaves waiting; and our own threads, but for this one.
        busy = any(map(procfs.is_running, services)) or procfs.is_running(
            os.getpid(), but=threading.get_native_id()
        )
        self._stage.controller.catch_up()
        # One that was never seen, or whose thread has ended, is judged by the rest alone: its
        # client waits, and nothing moves.
        last = [self._stage.last_seen(runner.label) for runner in moving]
        now = self._stage.controller.whereabouts(hit for hit in last if hit is not None)
        # Our own looking does not count.
        cpu_ns = procfs.cpu_ns([os.getpid(), *services]) - time.thread_time_ns()
        earlier, self._look = self._look, (self._count(), now)
        self._equal = self._equal + 1 if earlier == self._look else 0
        took_ns, self._cpu_ns = cpu_ns - self._cpu_ns, cpu_ns
        apart_ns = (time.monotonic() - self._at) * 1e9
        self._at = time.monotonic()
        if any(runner.looking for runner in moving):  # who looks in a way of his own is never idle
            return self._equal >= _EQUAL_LOOKS
        return not busy and bool(self._equal) and took_ns < _IDLE * apart_ns
