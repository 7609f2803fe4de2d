"""The stage: what the engine and the faults of one round can reach and do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from chaos.action import Action
from chaos.engine.accesses import Accesses
from chaos.engine.actors import Actors
from chaos.engine.listening import Listening
from chaos.engine.reactions import Reactions
from chaos.engine.sightings import Sightings
from chaos.errors import WorldMoved
from chaos.failpoints.arm import Arm, ArmRequest
from chaos.failpoints.controller import Controller
from chaos.fault import Armed, Strike
from chaos.history import Event, History, Kind
from chaos.hit import Hit
from chaos.invariant import Checked, Evidence, Invariant, Observation, Violation
from chaos.link import Link, leads
from chaos.operation import Scope
from chaos.plan import GIVEN, Location, Phase, Plan
from chaos.point import When, means
from chaos.safety.undo import Entry, UndoLog
from chaos.schedule import Choices
from chaos.target import Service, Target


class Gatekeeper(Protocol):
    """Who holds actors and lets them go (:class:`chaos.engine.gates.Gates`)."""

    def add(self, actors: Sequence[str], points: Sequence[Location], crashes: int) -> Strike:
        """Hold these actors at these points."""


@dataclass(frozen=True, slots=True)
class Change:
    """A service on its way up or down, and since when."""

    service: str
    began_ns: int


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
    listening: Listening
    actors: Actors = field(init=False)
    sightings: Sightings = field(init=False)
    accesses: Accesses = field(init=False)
    reactions: Reactions = field(init=False)
    gatekeeper: Gatekeeper = field(init=False)
    observations: list[Observation] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    phase: Phase = Phase.DURING
    """The part of the plan that is under way."""
    acting: set[threading.Thread] = field(default_factory=set)
    """Actors of a ``together`` that may still bring a strike: not those that wait for one."""
    changing: dict[threading.Thread, Change] = field(default_factory=dict)
    """Who waits until a service is there, or is gone."""
    arms: list[Arm] = field(default_factory=list)
    """Those of its faults."""
    listens: bool = False
    """Whether what is told belongs to a part of the plan: to make the steady state does not."""
    changed: bool = True
    """Whether the world is, or may be, another one than at the beginning."""
    over: bool = False
    """Whether the round is over."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Of the client operations."""
    _began: dict[Phase, int] = field(default_factory=dict)
    """The parts of the plan that have begun, in their order, and when."""
    _ended: dict[str, int] = field(default_factory=dict)
    _killed_ns: dict[str, int] = field(default_factory=dict)
    _dying: set[Hit] = field(default_factory=set)
    """Of the crashes, those whose service has not been seen dead."""

    def __post_init__(self) -> None:
        self.actors = Actors(self.plan, self.target.new_request_id)
        self.sightings = Sightings(self.actors)
        self.accesses = Accesses(self.actors, self.target.points, self.listening.watched)
        self.reactions = Reactions(self.history.ask_again)

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
        return [s for name, s in self.services.items() if means(pattern, name)]

    def links(self, pattern: str) -> list[Link]:
        """The links whose name matches a pattern."""
        return [link for name, link in self.target.links.items() if leads(pattern, name)]

    def arm(self, at: Location, action: Action, *, times: int | None = 1, parks: str = "") -> Arm:
        """Put an action at a location of the plan; undone when the round ends."""
        (arm,) = self.arm_all([self.request(at, action, times=times)])
        delays = action.word == "delay"
        self.sightings.expect(
            arm, parks=parks, delay_s=action.arguments["limit_s"] if delays else 0.0
        )
        return arm

    def arm_all(self, requests: Iterable[ArmRequest]) -> list[Arm]:
        """Arm something of a fault's; undone when the round ends."""
        arms = self.controller.arm_all(requests)
        self.arms += arms
        return arms

    def request(self, at: Location, action: Action, *, times: int | None = 1) -> ArmRequest:
        """What the controller is asked for to put an action at a location of the plan."""
        requests, services = self.actors.identity(at.actor)
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

    def gate(self, actors: Sequence[str], points: Sequence[Location], crashes: int = 0) -> Strike:
        """Hold these actors at these points, and let the schedule say who goes on."""
        return self.gatekeeper.add(actors, points, crashes)

    def choose(self, name: str, options: Sequence[str]) -> str:
        """One of the options, as the schedule has it."""
        return self.choices.choose(name, options)

    def push_undo(self, entry: Entry) -> None:
        """Write down how to undo what is injected next, for whoever is alive then."""
        self.undo.push(entry)

    def hits_of(self, *arms: Armed) -> list[Hit]:
        """The hits of these arms so far; waiting on the history never misses one."""
        return self.sightings.of(*arms)

    def tell(
        self, kind: Kind, lane: str, name: str, text: str, *, actor: str = "", **facts: Any
    ) -> None:
        """Put a fault, an undo or a step into the history."""
        self.history.add(kind, lane, name, actor=actor, text=text, **facts)

    def react(self, name: str, reaction: Callable[[], None]) -> None:
        """Run ``reaction`` beside the workload; its error makes the round an ERROR."""
        self.reactions.start(name, reaction)

    def wait_for(self, happened: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until ``happened()``, asked after each event, for as long as the round lasts.

        False after ``deadline_s`` seconds, or when the round is over.
        """
        self.history.wait_for(lambda: self.over or happened(), deadline_s)
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

    def was_struck(self, service: str, since_ns: int) -> bool:
        """Whether a fault at a point has struck this service since then."""
        return any(
            event.lane == service
            and event.at_ns >= since_ns
            and event.data["action"] not in ("record", "pause")
            for event in self.history.of(Kind.HIT)
        )

    def reached(self, point: str) -> list[Hit]:
        """Every time so far that the beginning of this point's function was reached."""
        return self.sightings.reached(point)

    def part_of(self, hit: Hit) -> str:
        """In which part of the plan a point was reached: ``given``, or a phase."""
        begun = [phase for phase, at_ns in self._began.items() if at_ns <= hit.at_ns]
        return begun[-1].value if begun else GIVEN

    def actor_of(self, hit: Hit) -> str:
        """On whose behalf a point was reached; '' when nobody knows."""
        return self.actors.of(hit)

    # ------------------------------------------------------------------ for the engine

    def on_hit(self, hit: Hit) -> None:
        """Take note of a hit; called by the controller on its own thread."""
        if not self.listens:
            return
        self.sightings.see(hit)
        if self.accesses.note(hit):
            return
        self.sightings.keep(hit)
        self.history.add(
            Kind.HIT,
            hit.service,
            hit.alias,
            actor=self.actor_of(hit),
            at_ns=hit.at_ns,
            when=hit.when.value,
            action=hit.action,
            request=hit.request,
            thread=hit.thread,
            **({} if hit.whole else {"worker": hit.pid}),
        )
        if hit.action == "crash" and hit.whole:
            self._dying.add(hit)

    def wait_for_deaths(self) -> None:
        """Return when whoever has been struck by a crash is dead, as long as anything may take.

        Somebody who asks before would be answered by chance: that the connection broke, or that
        nobody listens; and whoever is to start it would find it ready.
        """
        for hit in tuple(self._dying):
            if self.wait_for(lambda: self.has_ended(hit.service, hit.at_ns), self.deadline_s):  # noqa: B023
                self._dying.discard(hit)
            else:
                return  # the fault itself finds that it lives

    def kill(self, service: Service) -> None:
        """Have a service die because the plan, or its schedule, says so."""
        self._killed_ns[service.name] = time.monotonic_ns()
        with self.change(service):
            service.kill()

    @contextmanager
    def change(self, service: Service) -> Iterator[None]:
        """Have it known that this thread waits for a service to come up, or to be gone."""
        me = threading.current_thread()
        self.changing[me] = Change(service.name, time.monotonic_ns())
        try:
            yield
        finally:
            del self.changing[me]

    def killed_ns(self, service: Service) -> int:
        """When the plan or its schedule last had this service die; 0: never."""
        return self._killed_ns.get(service.name, 0)

    def begin(self, phase: Phase) -> None:
        """Note which part of the plan begins now."""
        if not self.listens:
            self.controller.catch_up()  # what the steady state led to comes before
        self.listens = True
        self.phase = phase
        self._began[phase] = time.monotonic_ns()
        self._ended.clear()

    def end(self, *names: str) -> None:
        """Note that steps, or a phase, have ended, for faults that wait for them."""
        at_ns = time.monotonic_ns()
        self.controller.catch_up()  # whoever came to a point before is known before
        for name in filter(None, names):
            self._ended.setdefault(name, at_ns)
        self.history.add(Kind.STEP, "plan", "ended", text=" ".join(filter(None, names)))

    def resume(self, events: Sequence[Event]) -> None:
        """Take over what happened in an earlier round, as the beginning of this one."""
        for event in events:
            self.history.add(
                event.kind, event.lane, event.name, actor=event.actor, at_ns=event.at_ns,
                **event.data,
            )  # fmt: skip
        known = [event.data["operation"] for event in events if event.kind is Kind.INVOKE]
        self.numbers = count(max(known, default=0) + 1)

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

    def close(self) -> None:
        """The round is over: let every reaction end, and wait until it has."""
        self.over = True
        self.history.ask_again()
        self.reactions.join(self.deadline_s)
