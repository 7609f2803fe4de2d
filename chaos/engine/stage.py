"""The stage: what the engine and the faults of one round can reach and do."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Protocol

from chaos.action import Action
from chaos.errors import ChaosError, WorldMoved
from chaos.failpoints.arm import Arm, ArmRequest
from chaos.failpoints.controller import Controller
from chaos.fault import Armed, Strike
from chaos.history import Event, History, Kind
from chaos.hit import Hit
from chaos.invariant import Checked, Evidence, Invariant, Observation, Violation
from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Scope,
)
from chaos.plan import ON_SERVICE, STEPS, Location, Phase, Plan, Step
from chaos.point import Access, AccessPoint, When
from chaos.safety.undo import Entry, UndoLog
from chaos.schedule import Choices
from chaos.target import Service, ServiceState, Target

_log = logging.getLogger(__name__)


class Gatekeeper(Protocol):
    """Who holds actors and lets them go (:class:`chaos.engine.gates.Gates`)."""

    def add(self, actors: Sequence[str], points: Sequence[Location], crashes: int) -> Strike:
        """Hold these actors at these points."""

    def patient(self, label: str, scope: Scope) -> Scope:
        """The scope with which an operation of this actor waits for something."""

    def look_again(self, label: str) -> bool:
        """Wait until it is worth this actor's while to look again; False: never."""

    def held_at_most_s(self, label: str) -> float:
        """Seconds for which what this actor does may be held; 0: it is never."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A service that was started and did not come up: in words, when, and in which step."""

    service: str
    why: str
    at_ns: int
    moment: str


@dataclass(slots=True)
class Stage:
    """One round of a plan under way (:class:`chaos.fault.FaultContext` for its faults).

    Faults, actors and the controller use it from threads of their own. What several of them change
    is only ever appended to, or belongs to the history, which has a lock of its own.
    """

    plan: Plan
    target: Target
    controller: Controller
    undo: UndoLog
    history: History
    invariants: tuple[Invariant, ...]
    scope: Scope
    choices: Choices
    watched: dict[int, AccessPoint]
    """The arms that tell what is read and written."""
    listening: list[Arm]
    """All arms that only tell; the rounds of a trial share them."""
    observations: list[Observation] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    accesses: list[tuple[str, int, tuple[Access, ...] | None]] = field(default_factory=list)
    """What was read and written: by which request, when (monotonic nanoseconds), what (None: the
    target could not tell)."""
    phase: Phase = Phase.DURING
    """The part of the plan that is under way."""
    acting: set[threading.Thread] = field(default_factory=set)
    """Actors of a ``together`` that may still bring a strike: not those that wait for one."""
    starting: set[threading.Thread] = field(default_factory=set)
    """Actors that wait until a service is ready."""
    lost: list[Lost] = field(default_factory=list)
    """Who did not come up and was not judged yet."""
    hits: int = 0
    """How many hits are in the history."""
    moves: int = 0
    """How many hits, accesses among them, were on behalf of some actor."""
    changed: bool = True
    """Whether the world is, or may be, another one than at the beginning."""
    gatekeeper: Gatekeeper = field(init=False)
    requests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Actor → the request ids of its operations, in their order."""
    serving: dict[str, str] = field(default_factory=dict)
    """Actor → the request id of its operation now, or of the last one."""
    _actors: dict[str, str] = field(default_factory=dict)
    """Request id → actor."""
    _last: dict[str, Hit] = field(default_factory=dict)
    """Actor → where it was last seen."""
    _wants: dict[str, tuple[Access, ...]] = field(default_factory=dict)
    """Actor → what it was about to touch there."""
    _hits: dict[int, list[Hit]] = field(default_factory=lambda: defaultdict(list))
    """Arm → its hits so far; grows before the history tells of it."""
    arms: list[Arm] = field(default_factory=list)
    """Those of its faults."""
    _ended: dict[str, int] = field(default_factory=dict)
    _used: dict[str, Iterator[str]] = field(default_factory=dict)
    _parking: dict[Arm, str] = field(default_factory=dict)
    """Arm of a pause → what it waits for."""
    _killed_ns: dict[str, int] = field(default_factory=dict)
    _delays: dict[int, float] = field(default_factory=dict)
    """Arm → for how many seconds it holds whom it strikes."""
    _timers: set[tuple[int, str]] = field(default_factory=set)
    """Threads, by process and name, in which a timer of a service has come round."""
    _reactions: list[threading.Thread] = field(default_factory=list)
    _reaction_errors: list[BaseException] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _over: bool = False

    def __post_init__(self) -> None:
        for actor in (actor for phase in Phase for actor in self.plan.actors(phase)):
            if actor.label:
                # Known before anything is armed, so that a fault can wait for any of them.
                ids = tuple(self.target.new_request_id() for _ in _single(actor))
                self.requests[actor.label] = ids
                self._actors.update(dict.fromkeys(ids, actor.label))
                self._used[actor.label] = iter(ids)

    # ------------------------------------------------------------------ for faults

    @property
    def deadline_s(self) -> float:
        """Seconds that anything in this round may take."""
        return self.plan.settle or self.target.limits.settle_s

    @property
    def services(self) -> Mapping[str, Service]:
        """The target's services."""
        return self.target.services

    def matching(self, pattern: str) -> list[Service]:
        """The services whose name matches a shell pattern."""
        return [s for name, s in self.services.items() if fnmatchcase(name, pattern)]

    def arm(self, at: Location, action: Action, *, times: int | None = 1, parks: str = "") -> Arm:
        """Put an action at a location of the plan; undone when the round ends."""
        (arm,) = self.arm_all([self.request(at, action, times=times)])
        if parks:
            self._parking[arm] = parks
        if action.word == "delay":
            self._delays[arm.number] = action.arguments["limit_s"]
        return arm

    def arm_all(self, requests: Iterable[ArmRequest]) -> list[Arm]:
        """Arm something of a fault's; undone when the round ends."""
        arms = self.controller.arm_all(requests)
        self.arms += arms
        return arms

    def request(self, at: Location, action: Action, *, times: int | None = 1) -> ArmRequest:
        """What the controller is asked for to put an action at a location of the plan."""
        requests, services = self._identity(at.actor)
        return ArmRequest(
            self.target.points[at.point],
            at.when,
            action,
            alias=at.point,
            requests=requests,
            occurrence=at.occurrence,
            times=times,
            services=at.service or services,
            raised=at.raised if at.when is When.AFTER else None,
        )

    def _identity(self, actor: str) -> tuple[tuple[str, ...] | None, str | None]:
        """By what an actor is known inside the services: its requests, or its service."""
        if not actor:
            return None, None
        step = next(a for phase in Phase for a in self.plan.actors(phase) if a.label == actor)
        services = [s for s in _single(step) if s.operation in ON_SERVICE]
        if services and len(services) == len(list(_single(step))):
            # A service that starts has no request; nobody else's can be served there yet.
            return None, str(services[0].arguments["service"])
        return self.requests[actor], None

    def serves(self, actor: str) -> bool:
        """Whether an actor kills or starts services, in one of its steps."""
        actors = [step for phase in Phase for step in self.plan.actors(phase)]
        steps = [single for step in actors if step.label == actor for single in _single(step)]
        return any(single.operation in ON_SERVICE for single in steps)

    def gate(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Strike:
        """Hold these actors at these points, and let the schedule say who goes on."""
        return self.gatekeeper.add(actors, points, crashes)

    def choose(self, name: str, options: Sequence[str]) -> str:
        """One of the options, as the schedule has it."""
        return self.choices.choose(name, options)

    def kill(self, service: Service) -> None:
        """Have a service die because the plan, or its schedule, says so."""
        self._killed_ns[service.name] = time.monotonic_ns()
        service.kill()

    def killed_ns(self, service: Service) -> int:
        """When the plan or its schedule last had this service die; 0: never."""
        return self._killed_ns.get(service.name, 0)

    def push_undo(self, entry: Entry) -> None:
        """Write down how to undo what is injected next, for whoever is alive then."""
        self.undo.push(entry)

    def hits_of(self, *arms: Armed) -> list[Hit]:
        """The hits of these arms so far; waiting on the history never misses one."""
        return [hit for arm in arms for hit in tuple(self._hits[arm.number])]

    def is_held_up(self, actor: str, gates: Container[int]) -> bool:
        """Whether a fault holds this actor now, and lets it go by itself: apart from these arms."""
        mine = self.requests[actor]
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

    def holding(self) -> set[str]:
        """The services in which somebody is held now."""
        hits = (hit for hits in list(self._hits.values()) for hit in tuple(hits))
        return {hit.service for hit in hits if not hit.released}

    def parked(self) -> list[Hit]:
        """Everybody whom a fault holds until somebody else has done something."""
        return [hit for hit in self.hits_of(*self._parking) if not hit.released]

    def is_let_go_by_a_step(self) -> bool:
        """Whether one of the parked goes on before the part of the plan ends that runs now."""
        waits = [arm for arm, until in self._parking.items() if until != self.phase.value]
        return any(not hit.released for hit in self.hits_of(*waits))

    def tell(
        self, kind: Kind, lane: str, name: str, text: str, *, actor: str = "", **facts: Any
    ) -> None:
        """Put a fault, an undo or a step into the history."""
        self.history.add(kind, lane, name, actor=actor, text=text, **facts)

    def react(self, name: str, reaction: Callable[[], None]) -> None:
        """Run ``reaction`` beside the workload; its error makes the round an ERROR."""

        def run() -> None:
            try:
                reaction()
            except BaseException as error:
                self._reaction_errors.append(error)
                self.history.ask_again()

        thread = threading.Thread(target=run, name=f"chaos-{name}", daemon=True)
        self._reactions.append(thread)
        thread.start()

    def wait_for(self, happened: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until ``happened()``, asked after each event, for as long as the round lasts.

        False after ``deadline_s`` seconds, or when the round is over.
        """
        self.history.wait_for(lambda: self._over or happened(), deadline_s)
        return happened()

    def ended_ns(self, step: str) -> int | None:
        """When the step with this label or operation, or the phase, first ended; None: not yet.

        Steps of earlier phases do not count.
        """
        return self._ended.get(step)

    def has_ended(self, service: str, since_ns: int) -> bool:
        """Whether this service's process has ended since then; it may have been started again."""
        return any(
            event.name == "exited" and event.lane == service and event.at_ns >= since_ns
            for event in self.history.of(Kind.SERVICE)
        )

    def reached(self, point: str) -> list[Hit]:
        """Every time so far that the beginning of this point's function was reached."""
        return [
            hit
            for hits in list(self._hits.values())
            for hit in tuple(hits)
            if hit.alias == point and hit.action == "record" and hit.when is When.BEFORE
        ]

    def actor_of(self, hit: Hit) -> str:
        """On whose behalf a point was reached; '' when nobody knows."""
        return self._actors.get(hit.request or "", "")

    # ------------------------------------------------------------------ for the engine

    def on_hit(self, hit: Hit) -> None:
        """Take note of a hit; called by the controller on its own thread."""
        actor = self.actor_of(hit)
        self._last[actor] = hit
        self.moves += bool(actor)
        timer = self._note_timer(hit)
        access = self.watched.get(hit.arm)
        self._wants[actor] = ()
        if access is not None:
            found = _read(access, hit)
            self._wants[actor] = found or ()
            if timer and found is not None:  # it looks all the time, whatever anybody does
                found = tuple(access for access in found if access.writes)
            self.accesses.append((hit.request or "", hit.at_ns, found))
            return
        self._hits[hit.arm].append(hit)
        self.hits += 1
        self.history.add(
            Kind.HIT,
            hit.service,
            hit.alias,
            actor=actor,
            at_ns=hit.at_ns,
            when=hit.when.value,
            action=hit.action,
            request=hit.request,
            thread=hit.thread,
        )

    def _note_timer(self, hit: Hit) -> bool:
        """Whether a timer brought this about, and not somebody's request."""
        thread = hit.pid, hit.thread
        point = self.target.points.get(hit.alias)
        if hit.request:
            self._timers.discard(thread)
        elif point is not None and point.every_s:
            self._timers.add(thread)
        return thread in self._timers

    def is_told(self, actor: str) -> bool:
        """Whether it is told for what an actor waits: where it was last seen, it said so.

        That is something which another one has touched, or a service that is not there.
        """
        if any(service.state is not ServiceState.READY for service in self.services.values()):
            return True
        wanted = self._wants.get(actor, ())
        others = [
            access
            for request, _, accesses in self.accesses
            if self._actors.get(request) not in (actor, None)
            for access in accesses or ()
        ]
        return any(mine.conflicts(theirs) for mine in wanted for theirs in others)

    def last_seen(self, actor: str) -> Hit | None:
        """The last hit of an actor, of whatever arm."""
        return self._last.get(actor)

    def watch_accesses(self) -> bool:
        """Have the services tell what they read and write; False when the target cannot."""
        wanted = self.target.accesses if not self.watched else ()
        arms = self.controller.arm_all(
            ArmRequest(
                access.point, When.BEFORE, Action.record(access.arguments),
                alias=access.point.function, times=None,
            )
            for access in wanted
        )  # fmt: skip
        self.watched.update(zip((arm.number for arm in arms), wanted, strict=True))
        self.listening += arms
        return bool(self.watched)

    def begin(self, phase: Phase) -> None:
        """Note which part of the plan begins now."""
        self.phase = phase
        self._ended.clear()

    def resume(self, events: Sequence[Event]) -> None:
        """Take over what happened in an earlier round, as the beginning of this one."""
        for event in events:
            self.history.add(
                event.kind, event.lane, event.name, actor=event.actor, at_ns=event.at_ns,
                **event.data,
            )  # fmt: skip
        known = [event.data["operation"] for event in events if event.kind is Kind.INVOKE]
        self._numbers = count(max(known, default=0) + 1)

    def observe(self, moment: str, *checked: Checked) -> bool:
        """Look at the world now and check the invariants of these kinds (default: *always*).

        Says whether it has changed since the last look. A world that moved all the time while
        services were at work is no observation.
        """
        at_ns = time.monotonic_ns()  # before the look: what happens meanwhile may not be in it
        try:
            seen = Observation(moment, at_ns, self.target.observe())
        except WorldMoved as error:
            if checked:
                raise  # at rest nothing should move
            self.history.add(Kind.WORLD, "world", moment, changes=[], moved=str(error))
            return True
        earlier = self.observations[-1].world if self.observations else seen.world
        self.observations.append(seen)
        changes = [str(change) for change in seen.world.changes_since(earlier)]
        self.history.add(Kind.WORLD, "world", moment, changes=changes)
        evidence = Evidence(tuple(self.observations), self.history)
        for item in self.invariants:
            if item.checked in (checked or {Checked.ALWAYS}):
                self.violate(item.violation(evidence))
        return bool(changes)

    def violate(self, violation: Violation | None) -> None:
        """Record that something did not hold; the same one at a later moment adds nothing."""
        if violation is None or any(
            (violation.invariant, violation.evidence) == (known.invariant, known.evidence)
            for known in self.violations
        ):
            return
        self.violations.append(violation)
        self.history.add(
            Kind.VIOLATION,
            "world",
            violation.invariant,
            evidence=list(violation.evidence),
            moment=violation.moment,
        )

    def perform(self, step: Step, actor: str = "") -> None:
        """Invoke one client operation on behalf of an actor; its end goes into the history.

        Raises:
            OperationFailed: the target said no.
            OperationIndeterminate: the answer was lost, or something unexpected happened: the
                operation may or may not have been carried out.
            ExpectationFailed: it asserted something that is not so.
        """
        operation = self.target.operations[step.operation]
        label = actor or step.label
        request = None if operation.asserts else next(self._used.get(label, iter(())), None)
        if request is None:
            request = self.target.new_request_id()
            if not operation.asserts:
                self._actors[request] = label or step.operation
        scope = self.scope.actor(request)
        if operation.asserts:
            scope = self.gatekeeper.patient(label, scope)
        else:
            self.serving[label] = request
        ident = next(self._numbers)
        actor = label or step.operation
        self.history.add(
            Kind.INVOKE, "client", step.operation, actor=actor, operation=ident,
            arguments=dict(step.arguments), request=request, allow=list(step.allow),
            asserts=operation.asserts,
        )  # fmt: skip

        def end(kind: Kind, **facts: Any) -> None:
            self.history.add(kind, "client", step.operation, actor=actor, operation=ident, **facts)

        try:
            answer = operation.function(scope, **step.arguments)
        except (OperationFailed, ExpectationFailed) as error:
            end(Kind.FAIL, error=str(error), status=getattr(error, "status", None))
            raise
        except OperationIndeterminate as error:
            end(Kind.INDETERMINATE, error=str(error))
            raise
        except Exception as error:
            told = "".join(traceback.format_exception(error))
            end(Kind.INDETERMINATE, error=told)
            message = f"{step.operation} ended unexpectedly: {type(error).__name__}: {error}"
            raise OperationIndeterminate(message) from error
        end(Kind.OK, answer=answer)

    def end(self, *names: str) -> None:
        """Note that steps, or a phase, have ended, for faults that wait for them."""
        at_ns = time.monotonic_ns()
        self.controller.catch_up()  # whoever came to a point before is known before
        for name in filter(None, names):
            self._ended.setdefault(name, at_ns)
        self.history.add(Kind.STEP, "plan", "ended", text=" ".join(filter(None, names)))

    def close(self) -> None:
        """The round is over: let every reaction end, and wait until it has."""
        self._over = True
        self.history.ask_again()
        self._join(self.deadline_s)

    @property
    def over(self) -> bool:
        """Whether the round is over."""
        return self._over

    def join_reactions(self, deadline_s: float) -> None:
        """Wait until every reaction has ended.

        Raises:
            ChaosError: one failed, or still runs after ``deadline_s`` seconds.
        """
        self._join(deadline_s)
        self.raise_reaction_error()

    def _join(self, deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        for thread in self._reactions:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                raise ChaosError(f"{thread.name} has not ended after {deadline_s} s")

    def raise_reaction_error(self) -> None:
        """Do nothing unless a reaction has failed.

        Raises:
            ChaosError: what it failed of.
        """
        for error in self._reaction_errors:
            raise error


def _read(access: AccessPoint, hit: Hit) -> tuple[Access, ...] | None:
    try:
        return tuple(access.read(hit.service, hit.told))
    except Exception:
        _log.exception("the target cannot tell what %s touches", access.point.function)
        return None


def _single(actor: Step) -> Iterator[Step]:
    """The steps of an actor, one by one."""
    if actor.operation == STEPS:
        for step in actor.steps:
            yield from _single(step)
    else:
        yield actor
