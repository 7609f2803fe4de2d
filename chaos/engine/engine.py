"""The engine: runs a plan, round by round, and says what it proves.

A round reads top to bottom as :meth:`Engine._play` does: steady state → given → during → recover →
settle → invariants → then → clean up; whatever happens, it is judged, and ends by undoing. A phase
(*during*, *recover*, *then*) is: arm → steps → strike.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from chaos.action import Action
from chaos.engine.gates import Gate, Gates
from chaos.engine.stage import Stage
from chaos.errors import ChaosError, NotReady, NotSettled, Vacuous
from chaos.failpoints.arm import ArmRequest
from chaos.failpoints.controller import Controller
from chaos.fault import Strike
from chaos.history import Done, Event, History, Kind
from chaos.hit import Hit
from chaos.invariant import (
    ALWAYS_JUDGED,
    NO_DEADLOCK,
    RECOVERABLE,
    SERVICES_LIVE,
    SERVICES_RETURN,
    SETTLES,
    STEPS_SUCCEED,
    Checked,
    Observation,
    Violation,
)
from chaos.language.bind import BoundPlan
from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Scope,
)
from chaos.plan import KILL, ON_SERVICE, REACH, RESTART, TOGETHER, Injection, Phase, Step
from chaos.point import When
from chaos.safety.undo import UndoLog
from chaos.schedule import CRASH, GOES_ON, Choice, Choices, Schedule, Strategy, actor_of
from chaos.search import Stated, strategy
from chaos.target import Service, ServiceState, Target
from chaos.verdict import Outcome, Verdict

PROBE_S = 0.05
"""How long to wait for a strike before asking whether anything is still under way at all."""

STRIKES = "strikes"
"""The name of the choice whether a fault that ``maybe`` strikes does."""

RoundSink = Callable[[int, Event], None]


@dataclass(slots=True)
class Injected:
    """A fault that was put in place."""

    injection: Injection
    strike: Strike


@dataclass(slots=True)
class Steady:
    """The steady state of a plan, kept so that later rounds need not make it again."""

    kept: object
    made: dict[str, str]
    observations: list[Observation]
    events: list[Event]


@dataclass(slots=True)
class Trial:
    """What the rounds of one plan have in common."""

    bound: BoundPlan
    bugs: frozenset[str]
    strategy: Strategy
    rounds: int = 0
    steady: Steady | None = None
    passed: set[str] = field(default_factory=set)
    """The places of its races at which somebody was held."""
    raced: bool = False
    """Whether there ever was a choice between actors."""
    gated: tuple[str, ...] = ()
    """The places of its races."""


class Engine:
    """Runs plans on one target, one at a time.

    ``on_event`` gets each event with its round's number, as it happens; ``on_round`` each round's
    outcome, with its history, once it has ended.
    """

    def __init__(
        self,
        target: Target,
        controller: Controller,
        undo: UndoLog,
        *,
        on_event: RoundSink = lambda number, event: None,
        on_round: Callable[[int, Outcome, History], None] = lambda number, outcome, history: None,
    ) -> None:
        self.target = target
        self.controller = controller
        self.undo = undo
        self.on_event = on_event
        self.on_round = on_round
        self._stage: Stage | None = None
        self._bugs: frozenset[str] = frozenset()
        self._dirty = False
        """Whether the last round may have left the world other than pristine."""
        self._recorded: set[str] = set()

    # ------------------------------------------------------------------ a trial

    def run(
        self,
        bound: BoundPlan,
        bugs: frozenset[str] = frozenset(),
        by: Strategy | None = None,
    ) -> Outcome:
        """Execute the schedules of a plan until one does not pass.

        ``bugs`` are switched on in the target meanwhile; ``by`` answers the choices that the plan
        leaves open, instead of what its ``schedules`` say.
        """
        stated = by is not None and isinstance(by, Stated)
        trial = Trial(bound, bugs, by or strategy(bound.plan.schedules))
        try:
            outcome = self._rounds(trial)
            if outcome.verdict is Verdict.PASS:
                self._check_raced(trial, stated=stated)
        except Exception as error:
            self._dirty = True
            return replace(_broken(error), rounds=trial.rounds)
        finally:
            self._end_trial()
        return replace(outcome, account=trial.strategy.account)

    def _rounds(self, trial: Trial) -> Outcome:
        outcome = Outcome(Verdict.ERROR, "the plan was not executed", rounds=0)
        while trial.strategy.begin():
            by = trial.strategy
            for _ in range(trial.bound.plan.repeat):
                outcome, schedule = self._round(trial, by)
                if outcome.verdict is not Verdict.PASS:
                    return outcome
                by = Stated([str(schedule)])
                by.begin()
            if trial.gated and not trial.passed:
                self._check_raced(trial, stated=False)
            trial.strategy.end(schedule)
        return outcome

    def _check_raced(self, trial: Trial, *, stated: bool) -> None:
        """A race at which there was nothing to choose proves nothing."""
        never = [place for place in trial.gated if place not in trial.passed]
        if never and not stated:
            raise Vacuous(f"no actor was ever held at {', '.join(never)} in {trial.rounds} rounds")
        if trial.gated and not trial.raced:
            raise Vacuous(
                "there was only one order: the actors never waited at the points at the same time"
            )

    def _end_trial(self) -> None:
        self._recorded.clear()
        try:
            self.controller.disarm_all()
        except ChaosError:
            self._dirty = True  # who does not answer is started anew by the reset

    def _round(self, trial: Trial, by: Strategy) -> tuple[Outcome, Schedule]:
        self._reset(trial)
        trial.rounds += 1
        number, plan = trial.rounds, trial.bound.plan
        choices = Choices(by)
        open_ = True

        def sink(event: Event) -> None:
            if open_:  # an actor that never came back may still tell of its end, much later
                self.on_event(number, event)

        history = History(sink)
        stage = Stage(
            plan, self.target, self.controller, self.undo, history, trial.bound.invariants,
            Scope(self.target.client(), deadline_s=plan.settle or self.target.limits.client_s),
            choices,
        )  # fmt: skip
        gates = Gates(stage)
        stage.gatekeeper = gates
        self._stage, self._dirty = stage, True  # until it has ended well; an interrupt does not
        try:
            outcome = self._judged(trial, stage, gates)
            note = self._undone(stage)
        finally:
            self._stage, open_ = None, False
        if note and outcome.verdict is Verdict.PASS:
            outcome = Outcome(Verdict.ERROR, note)
        elif note:
            outcome = replace(outcome, note=note)
        outcome = replace(outcome, schedule=choices.schedule, rounds=number)
        # Also a violation that the plan does not judge leaves something behind.
        self._dirty = bool(stage.violations) or outcome.verdict is not Verdict.PASS
        chosen = any(_is_choice_of_actors(choice) for choice in choices.schedule)
        trial.raced = trial.raced or chosen or gates.blocked
        self.on_round(number, outcome, history)
        return outcome, choices.schedule

    def _reset(self, trial: Trial) -> None:
        steady = trial.steady
        if steady is not None:
            self.target.reset(trial.bugs, steady.kept)
        elif self._dirty or self._bugs != trial.bugs:
            self.target.reset(trial.bugs)
        self._dirty, self._bugs = False, trial.bugs

    def _judged(self, trial: Trial, stage: Stage, gates: Gates) -> Outcome:
        try:
            self._play(trial, stage, gates)
            stage.history.check()
        except Exception as error:
            outcome = _broken(error)
            # What was found before it broke is told all the same.
            found = "; ".join(map(str, stage.violations))
            if found and outcome.verdict is Verdict.ERROR:
                return replace(outcome, reason=f"{outcome.reason}\nBefore that: {found}")
            return outcome
        return self._judge(stage)

    # ------------------------------------------------------------------ a round

    def _play(self, trial: Trial, stage: Stage, gates: Gates) -> None:
        if trial.steady is None:
            stage.observe("before")
            self._given(trial, stage)
        else:
            self._resume(trial.steady, stage)
        self._phase(trial, stage, gates, Phase.DURING)
        self._check_cut(stage)
        self._recover(trial, stage, gates)
        if not self._settle(stage, "settled", gates.standstill):
            return
        if trial.bound.plan.then or any(i.phase is Phase.THEN for i, _ in trial.bound.faults):
            struck = self._phase(trial, stage, gates, Phase.THEN)
            if struck:
                self._bring_back(stage)
            if not self._settle(stage, "then", gates.standstill):
                return
        self._clean_up(stage)

    def _given(self, trial: Trial, stage: Stage) -> None:
        self._say(stage, "given")
        try:
            for step in stage.plan.given:
                stage.perform(step)
            stage.target.settle(stage.deadline_s)
        except (OperationFailed, OperationIndeterminate, ExpectationFailed) as error:
            raise ChaosError(f"`given` could not be established: {error}") from error
        stage.observe("given", *Checked)
        if stage.violations:
            raise ChaosError(
                f"no steady state to start from: {'; '.join(map(str, stage.violations))}"
            )
        kept = self.target.keep() if stage.plan.given else None
        if kept is not None:
            trial.steady = Steady(
                kept, dict(stage.scope.made), list(stage.observations), list(stage.history)
            )

    @staticmethod
    def _resume(steady: Steady, stage: Stage) -> None:
        """Begin where ``given`` had ended: its history and its world are this round's too."""
        stage.scope.made.update(steady.made)
        stage.observations.extend(steady.observations)
        for event in steady.events:
            stage.history.add(
                event.kind, event.lane, event.name, actor=event.actor, at_ns=event.at_ns,
                **event.data,
            )  # fmt: skip

    def _phase(self, trial: Trial, stage: Stage, gates: Gates, phase: Phase) -> list[Injected]:
        """Arm what may strike in a phase, perform its steps, and wait until it has struck."""
        injected = self._arm(trial, stage, phase)
        self._say(stage, phase.value)
        self._perform(stage, gates, phase, injected)
        self._strike(trial, stage, injected)
        stage.observe(_MOMENT[phase])
        return injected

    def _arm(self, trial: Trial, stage: Stage, phase: Phase) -> list[Injected]:
        faults = [(i, fault) for i, fault in trial.bound.faults if i.phase is phase]
        if faults or phase is Phase.DURING:
            self._say(stage, "arm")
        self._record_every_point()
        return [
            Injected(injection, fault.prepare(stage, injection.at))
            for injection, fault in faults
            if not injection.maybe or self._chosen(stage, injection)
        ]

    @staticmethod
    def _chosen(stage: Stage, injection: Injection) -> bool:
        return stage.choose(f"{STRIKES}: {injection}", ("strike", "spare")) == "strike"

    # ------------------------------------------------------------------ steps

    def _perform(
        self, stage: Stage, gates: Gates, phase: Phase, injected: Sequence[Injected]
    ) -> None:
        steps = getattr(stage.plan, phase.value)
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            self._wait_for_holds(stage, injected, step, number, last=last)
            if step.operation == TOGETHER:
                succeeded = self._together(stage, gates, step.steps, phase, injected)
            else:
                succeeded = self._step(stage, step, phase, injected)
            if not succeeded:
                break
            stage.observe(f"after {step.label or step.operation}")
        self._wait_for_holds(stage, injected)
        stage.end(phase.value)

    def _wait_for_holds(
        self,
        stage: Stage,
        injected: Sequence[Injected],
        step: Step | None = None,
        number: int = 0,
        *,
        last: bool = False,
    ) -> None:
        """Do not perform the step that a hold waits for before somebody is held.

        Without a ``reach`` a workload would otherwise run past the window that it is meant for.
        """
        for one in injected:
            until = one.strike.holds_until
            if not until or one.strike.struck:
                continue
            if step is None:
                due = until == Phase.DURING.value
            else:
                names = {step.label, step.operation, *(a.label for a in step.steps)}
                due = number > 0 and (until in names or (until == Phase.DURING.value and last))
            if due:
                self._struck(stage, one)

    def _step(
        self,
        stage: Stage,
        step: Step,
        phase: Phase,
        injected: Sequence[Injected],
        actor: str = "",
    ) -> bool:
        """Perform one step of the plan; False when it failed in a way the plan does not allow."""
        if step.operation == REACH:
            for one in injected:
                if str(one.injection.at) == step.arguments["point"]:
                    while not one.strike.wait(0) and stage.gatekeeper.look_again(actor):
                        pass
                    self._wait_for_strike(stage, one)
            return True
        try:
            if step.operation in ON_SERVICE:
                self._on_service(stage, step, self._held_patience_s(stage, actor))
            else:
                stage.perform(step, actor)
        except OperationIndeterminate as error:
            # It may or may not have happened, which is no failure, but proves nothing either.
            asserts = step.operation in stage.target.operations and (
                stage.target.operations[step.operation].asserts
            )
            if phase is Phase.DURING and not asserts:
                return True
            return self._failed(stage, step, phase, f"the answer was lost: {error}")
        except ExpectationFailed as error:
            return self._failed(stage, step, phase, str(error))
        except OperationFailed as error:
            if error.status in step.allow:
                return True
            return self._failed(stage, step, phase, str(error))
        except NotReady as error:
            stage.violate(Violation(SERVICES_RETURN, f"{phase} {step}", (str(error),)))
            return False
        finally:
            stage.end(step.label, step.operation)
        return True

    @staticmethod
    def _failed(stage: Stage, step: Step, phase: Phase, why: str) -> bool:
        stage.violate(Violation(STEPS_SUCCEED, f"{phase} {step}", (why,)))
        return False

    @staticmethod
    def _held_patience_s(stage: Stage, actor: str) -> float | None:
        """Until when a service has to be ready whose start may be held; None: as it says."""
        held_s = stage.gatekeeper.held_at_most_s(actor)
        return held_s + stage.target.limits.start_s if held_s else None

    @staticmethod
    def _on_service(stage: Stage, step: Step, deadline_s: float | None) -> None:
        for service in stage.matching(str(step.arguments["service"])):
            if step.operation in (KILL, RESTART):
                stage.kill(service)
            if step.operation != KILL:
                began_ns = time.monotonic_ns()
                try:
                    _bring_back(service, deadline_s)
                except NotReady:
                    # Another actor, or the schedule, had it die on its way up: no failed recovery.
                    if stage.killed_ns(service) < began_ns:
                        raise

    def _together(
        self,
        stage: Stage,
        gates: Gates,
        actors: Sequence[Step],
        phase: Phase,
        injected: Sequence[Injected],
    ) -> bool:
        succeeded: list[bool] = []
        errors: list[BaseException] = []

        def run(actor: Step) -> None:
            try:
                succeeded.append(self._act(stage, gates, actor, phase, injected))
            except BaseException as error:
                errors.append(error)
            finally:
                stage.end(actor.label)
                gates.leave(actor.label)

        threads = [
            threading.Thread(target=run, args=(actor,), name=f"chaos-{actor.label}", daemon=True)
            for actor in actors
        ]
        gated = gates.expect([actor.label for actor in actors])
        for thread, actor in zip(threads, actors, strict=True):
            if actor.label not in gated:
                thread.start()
        try:
            if gated:
                started = zip(actors, threads, strict=True)
                gates.drive([thread for actor, thread in started if actor.label in gated])
        except Exception:
            self._join(stage, actors, threads)  # nobody may act in a later round
            raise
        patience_s = self._join(stage, actors, threads)
        if errors:
            raise errors[0]
        waiting = [thread.name.removeprefix("chaos-") for thread in threads if thread.is_alive()]
        if waiting:
            raise ChaosError(
                f"{', '.join(waiting) or 'a step'} of `{TOGETHER}` has not ended after "
                f"{patience_s:g} s"
            )
        return all(succeeded)

    @staticmethod
    def _join(stage: Stage, actors: Sequence[Step], threads: Sequence[threading.Thread]) -> float:
        """Wait until these have ended; for how many seconds at most."""
        patience_s = 2 * stage.deadline_s + sum(len(actor.steps) for actor in actors)
        until = time.monotonic() + patience_s
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(0.0, until - time.monotonic()))
        return patience_s

    def _act(
        self,
        stage: Stage,
        gates: Gates,
        actor: Step,
        phase: Phase,
        injected: Sequence[Injected],
    ) -> bool:
        """Perform the steps of one actor."""
        for number, step in enumerate(actor.steps or (actor,)):
            # An operation goes by itself to the first point at which it is held.
            held = number > 0 or step.operation in ON_SERVICE
            if (held and not gates.enter(actor.label, str(step))) or stage.over:
                return False
            operation = stage.target.operations.get(step.operation)
            looks = step.operation == REACH or (operation is not None and operation.asserts)
            gates.look(actor.label, looking=looks)
            if not self._step(stage, step, phase, injected, actor.label):
                return False
            gates.look(actor.label, looking=False)
        return True

    # ------------------------------------------------------------------ strikes

    def _strike(self, trial: Trial, stage: Stage, injected: Sequence[Injected]) -> None:
        for one in injected:
            self._wait_for_strike(stage, one)
        for one in injected:
            one.strike.finish(stage.deadline_s)
            if isinstance(one.strike, Gate):
                trial.gated = tuple(dict.fromkeys([*trial.gated, *map(str, one.strike.points)]))
                trial.passed |= one.strike.passed
        stage.join_reactions(stage.deadline_s)

    def _wait_for_strike(self, stage: Stage, one: Injected) -> None:
        if not self._struck(stage, one):
            told = (str(violation).rstrip(".") for violation in stage.violations)
            before = "".join(f" Before that: {violation}." for violation in told)
            raise Vacuous(f"{one.strike.missing()}{before} {self._seen(stage)}")

    def _struck(self, stage: Stage, one: Injected) -> bool:
        """Wait for a strike as long as anything is under way that could still bring it."""
        began = time.monotonic()
        until = began + stage.deadline_s
        timer_s = one.injection.within
        if one.injection.at is not None:  # a timer comes round twice, wherever it stands now
            timer_s = max(timer_s, 2 * stage.target.points[one.injection.at.point].every_s)
        while not one.strike.wait(PROBE_S):
            stage.raise_reaction_error()
            try:
                stage.target.settle(PROBE_S)
            except NotSettled:
                if time.monotonic() < until:
                    continue
            if time.monotonic() < began + timer_s:
                continue
            if not one.strike.wait(0):
                return False
        one.strike.struck = True
        return True

    @staticmethod
    def _check_cut(stage: Stage) -> None:
        """A workload of which nothing reached the target proves nothing.

        Raises:
            Vacuous: every operation of it was cut off before anything was done for it.
        """
        tried = [done for done in stage.history.operations if _is_of_workload(stage, done)]
        if tried and all(done.outcome is Kind.INDETERMINATE for done in tried):
            hits = stage.history.of(Kind.HIT)
            reads = bool(stage.target.request_id_reader)
            if not any(_served(done, hit, reads=reads) for done in tried for hit in hits):
                names = ", ".join(dict.fromkeys(done.operation for done in tried))
                raise Vacuous(
                    f"Every operation of `during` ({names}) was cut off, and reached no point of "
                    "the target: nothing was done during the fault."
                )

    # ------------------------------------------------------------------ afterwards

    def _recover(self, trial: Trial, stage: Stage, gates: Gates) -> None:
        """Bring back what is down; twice when a fault strikes in the first recovery."""
        injected = self._arm(trial, stage, Phase.RECOVER)
        self._say(stage, Phase.RECOVER.value)
        lost = self._bring_back(stage, judged=not injected)
        if injected:
            # A service that died of it on its way up is no failed recovery: the next one counts.
            self._strike(trial, stage, injected)
            struck = {event.lane for event in stage.history.of(Kind.FAULT)}
            for name, error in lost.items():
                if name not in struck:
                    stage.violate(Violation(SERVICES_RETURN, "recovered", (error,)))
            stage.observe("struck again")
            self._say(stage, "recover again")
            self._bring_back(stage)
        stage.end(Phase.RECOVER.value)
        stage.observe("recovered")

    def _bring_back(self, stage: Stage, *, judged: bool = True) -> dict[str, str]:
        """Recover as the plan says; which services did not come back, and why."""
        lost: dict[str, str] = {}
        plan = stage.plan
        if plan.recover is None:
            for service in stage.services.values():
                _try(service, lost)
        for step in plan.recover or ():
            if step.operation in ON_SERVICE:
                for service in stage.matching(str(step.arguments["service"])):
                    if step.operation in (KILL, RESTART):
                        service.kill()
                    if step.operation != KILL:
                        _try(service, lost)
            else:
                self._step(stage, step, Phase.RECOVER, ())
        if judged:
            for error in lost.values():
                stage.violate(Violation(SERVICES_RETURN, "recovered", (error,)))
        return lost

    def _settle(self, stage: Stage, moment: str, standstill: str = "") -> bool:
        self._say(stage, "settle")
        try:
            stage.target.settle(stage.deadline_s)
        except NotSettled as error:
            stage.observe(moment)
            if standstill:
                stage.violate(Violation(NO_DEADLOCK, moment, (standstill,)))
            stage.violate(Violation(SETTLES, moment, (str(error),)))
            return False
        stage.observe(moment, *Checked)
        return True

    def _clean_up(self, stage: Stage) -> None:
        """Invariant 13: one user delete of everything brings the world back."""
        self._say(stage, "clean up")
        try:
            stage.target.clean_up(stage.scope)
            stage.target.settle(stage.deadline_s)
        except ChaosError as error:
            stage.violate(Violation(RECOVERABLE, "cleaned up", (str(error),)))
            return
        leaks = stage.target.observe().leaks_since(stage.observations[0].world)
        if leaks:
            stage.violate(Violation(RECOVERABLE, "cleaned up", tuple(map(str, leaks))))

    def _judge(self, stage: Stage) -> Outcome:
        deaths = tuple(unexplained_deaths(stage.history))
        stage.violate(Violation(SERVICES_LIVE, "round", deaths) if deaths else None)
        wanted = stage.plan.invariants
        judged = [
            v
            for v in stage.violations
            if wanted is None or v.invariant in (*wanted, *ALWAYS_JUDGED)
        ]
        # A step that failed is mostly a consequence: what it follows from is told first.
        violations = tuple(sorted(judged, key=lambda v: v.invariant == STEPS_SUCCEED))
        if violations:
            reason = "\n".join(map(str, violations))
            return Outcome(Verdict.FAIL, reason, violations)
        return Outcome(Verdict.PASS)

    # ------------------------------------------------------------------ around it

    def _undone(self, stage: Stage) -> str:
        """Have nothing of the faults outlive the round; what could not be undone, in words."""
        failures: list[str] = []

        def attempt(what: Callable[[], None]) -> None:
            try:
                what()
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                failures.append(told if isinstance(error, ChaosError) else traceback.format_exc())

        with ExitStack() as ending:  # also an interrupt leaves none out
            for service in reversed(list(stage.services.values())):
                ending.callback(attempt, partial(_bring_back, service))
            ending.callback(attempt, self.undo.undo_all)  # what a reaction did meanwhile
            ending.callback(attempt, stage.close)
            ending.callback(attempt, self._disarm)
            ending.callback(attempt, self.undo.undo_all)  # first: a frozen service cannot answer
        return f"Not everything could be undone: {'; '.join(failures)}" if failures else ""

    def _disarm(self) -> None:
        self._recorded.clear()
        self.controller.disarm_all()

    def _record_every_point(self) -> None:
        """Have every known point tell when it is passed: for the timeline, and for VACUOUS."""
        wanted = [
            ArmRequest(point, When.BEFORE, Action.record(), alias=alias, times=None)
            for alias, point in self.target.points.items()
            if alias not in self._recorded
        ]
        self.controller.arm_all(wanted)
        self._recorded.update(self.target.points)

    def on_hit(self, hit: Hit) -> None:
        """Put a hit into the running round's history (called by the controller)."""
        stage = self._stage
        if stage is not None:
            stage.on_hit(hit)

    def on_service(self, service: str, event: str, facts: object) -> None:
        """Put a service's life into the running round's history (called by the runner)."""
        stage = self._stage
        if stage is not None:
            details = dict(facts) if isinstance(facts, dict) else {}
            stage.history.add(Kind.SERVICE, service, event, **details)

    @staticmethod
    def _say(stage: Stage, phase: str) -> None:
        stage.tell(Kind.STEP, "plan", phase, phase)

    @staticmethod
    def _seen(stage: Stage) -> str:
        seen = dict.fromkeys(
            f"{event.data['when']} {event.name}" for event in stage.history.of(Kind.HIT)
        )
        if not seen:
            return "No point of the target was reached at all."
        return f"The points that were reached, in order: {', '.join(seen)}."


_MOMENT = {Phase.DURING: "struck", Phase.RECOVER: "recovered", Phase.THEN: "then struck"}


def _bring_back(service: Service, deadline_s: float | None = None) -> None:
    if service.state is ServiceState.FROZEN:
        service.thaw()
    service.start(deadline_s)


def _try(service: Service, lost: dict[str, str]) -> None:
    try:
        _bring_back(service)
    except NotReady as error:
        lost[service.name] = str(error)


def _is_choice_of_actors(choice: Choice) -> bool:
    """Whether one of several actors was chosen: not merely whether somebody dies."""
    actors = {actor_of(option.removeprefix(CRASH)) for option in choice.options}
    return choice.name == GOES_ON and len(actors) > 1


def _is_of_workload(stage: Stage, done: Done) -> bool:
    armed = [e.at_ns for e in stage.history.of(Kind.STEP) if e.name == Phase.DURING.value]
    return not done.asserts and bool(armed) and done.invoked_ns >= armed[-1]


def _served(done: Done, hit: Event, *, reads: bool) -> bool:
    """Whether a hit shows that something was done for an operation."""
    if reads:
        return bool(hit.data.get("request") == done.request)
    return done.invoked_ns <= hit.at_ns and (done.ended_ns is None or hit.at_ns <= done.ended_ns)


def _broken(error: Exception) -> Outcome:
    """What an exception says: a verdict of its own, one of our messages, or a defect of ours."""
    if isinstance(error, Vacuous):
        return Outcome(Verdict.VACUOUS, str(error))
    if isinstance(error, ChaosError):
        return Outcome(Verdict.ERROR, f"{type(error).__name__}: {error}")
    return Outcome(Verdict.ERROR, "".join(traceback.format_exception(error)))


def unexplained_deaths(history: History) -> Iterator[str]:
    """A sentence for each service that ended though nobody killed it."""
    explained: set[str] = set()
    for event in history.of(Kind.HIT, Kind.SERVICE):
        if event.name == "killed" or event.data.get("action") == "crash":
            explained.add(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "exited":
            if event.lane not in explained:
                how = event.data.get("signal") or event.data.get("code")
                yield f"{event.lane} ended by itself ({how}); see its log"
            explained.discard(event.lane)
