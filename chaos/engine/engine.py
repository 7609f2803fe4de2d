"""The engine: runs a plan, round by round, and says what it proves.

A round reads top to bottom as :meth:`Engine._play` does: steady state → given → during → recover →
settle → invariants → then → clean up; whatever happens, it is judged, and ends by undoing. A phase
(*during*, *recover*, *then*) is: arm → steps → strike.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from math import inf

from chaos.action import Action
from chaos.engine.gates import Gate, Gates
from chaos.engine.stage import Lost, Stage
from chaos.engine.steady import Steady, SteadyStates
from chaos.errors import ChaosError, NotReady, NotSettled, Vacuous, WorldMoved
from chaos.failpoints.arm import Arm, ArmRequest
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
from chaos.point import AccessPoint, When
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
class Trial:
    """What the rounds of one plan have in common."""

    bound: BoundPlan
    bugs: frozenset[str]
    strategy: Strategy
    rounds: int = 0
    passed: set[str] = field(default_factory=set)
    """The places of its races at which somebody was held."""
    raced: bool = False
    """Whether there ever was a choice between actors."""
    gated: tuple[str, ...] = ()
    """The places of its races."""
    injected: bool = False
    """Whether the schedule ever had a fault strike."""


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
        self._listening: list[Arm] = []
        self._watched: dict[int, AccessPoint] = {}
        self._steady = SteadyStates()

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
        if outcome.verdict is not Verdict.PASS:
            return outcome  # the search has not come to its end
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
        """Schedules in which nothing struck, or a race without a choice, prove nothing."""
        if not trial.injected and not stated:
            raise Vacuous(
                f"the schedule spared every fault in {trial.rounds} rounds: none ever struck"
            )
        never = [place for place in trial.gated if place not in trial.passed]
        if never and not stated:
            raise Vacuous(f"no actor was ever held at {', '.join(never)} in {trial.rounds} rounds")
        if trial.gated and not trial.raced:
            raise Vacuous(
                "there was only one order: the actors never waited at the points at the same time"
            )

    def _end_trial(self) -> None:
        for known in (self._recorded, self._listening, self._watched):
            known.clear()
        try:
            self.controller.disarm_all()
        except ChaosError:
            self._dirty = True  # who does not answer is started anew by the reset

    def _round(self, trial: Trial, by: Strategy) -> tuple[Outcome, Schedule]:
        steady = self._steady.of(trial.bound, trial.bugs)
        self._reset(trial, steady)
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
            Scope(
                self.target.client(),
                deadline_s=plan.settle or self.target.limits.client_s,
                poll_s=self.target.limits.poll_s,
            ),
            choices, self._watched, self._listening,
        )  # fmt: skip
        gates = Gates(stage)
        stage.gatekeeper = gates
        self._stage, self._dirty = stage, True  # until it has ended well; an interrupt does not
        try:
            outcome = self._judged(trial, stage, gates, steady)
            note = self._undone(stage)
        finally:
            self._stage, open_ = None, False
        if note and outcome.verdict is Verdict.PASS:
            outcome = Outcome(Verdict.ERROR, note)
        elif note:
            outcome = replace(outcome, note=note)
        outcome = replace(outcome, schedule=choices.schedule, rounds=number)
        self._dirty = stage.changed or outcome.verdict is not Verdict.PASS
        chosen = any(_is_choice_of_actors(choice) for choice in choices.schedule)
        trial.raced = trial.raced or chosen or gates.blocked
        self.on_round(number, outcome, history)
        return outcome, choices.schedule

    def _reset(self, trial: Trial, steady: Steady | None) -> None:
        if steady is not None:
            self.target.reset(trial.bugs, steady.kept)
        elif self._dirty or self._bugs != trial.bugs:
            self.target.reset(trial.bugs)
        self._dirty, self._bugs = False, trial.bugs

    def _judged(self, trial: Trial, stage: Stage, gates: Gates, steady: Steady | None) -> Outcome:
        try:
            try:
                self._play(trial, stage, gates, steady)
            except NotReady as error:  # of a fault that brings back what it took down
                stage.violate(Violation(SERVICES_RETURN, stage.phase.value, (str(error),)))
            stage.history.check()
        except Exception as error:
            return self._cut_short(stage, _broken(error))
        return self._judge(stage)

    def _cut_short(self, stage: Stage, outcome: Outcome) -> Outcome:
        """What was found before a round came to nothing is told all the same.

        What an invariant has found stands, whether or not the faults struck; that a step failed
        may well be why they did not.
        """
        found = self._judge(stage)
        if outcome.verdict is Verdict.VACUOUS and {*found.violated} - {STEPS_SUCCEED}:
            return replace(found, reason=f"{found.reason}\nAfter that: {outcome.reason}")
        if stage.violations:
            told = "; ".join(map(str, stage.violations))
            return replace(outcome, reason=f"{outcome.reason}\nBefore that: {told}")
        return outcome

    # ------------------------------------------------------------------ a round

    def _play(self, trial: Trial, stage: Stage, gates: Gates, steady: Steady | None) -> None:
        if steady is None:
            stage.observe("before")
            self._given(trial, stage)
        else:
            steady.resume(stage)
        self._phase(trial, stage, gates, Phase.DURING)
        self._check_cut(stage)
        self._recover(trial, stage, gates)
        if not self._settle(stage, "settled", gates.standstill):
            return
        if trial.bound.plan.then or any(i.phase is Phase.THEN for i, _ in trial.bound.faults):
            began = len(stage.history)
            self._phase(trial, stage, gates, Phase.THEN)
            killed = {e.lane: 0 for e in stage.history.since(began) if e.name == "killed"}
            if self._is_down(stage, killed | _strikes_since(stage.history, began)):
                self._bring_back(stage, gates)
                self._judge_lost(stage)
            if not self._settle(stage, "then", gates.standstill):
                return
        self._clean_up(stage)

    def _given(self, trial: Trial, stage: Stage) -> None:
        self._say(stage, "given")
        try:
            for step in stage.plan.given:
                stage.perform(step)
            if stage.plan.given:
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
            self._steady.keep(trial.bound, trial.bugs, Steady.of(stage, kept))

    def _phase(self, trial: Trial, stage: Stage, gates: Gates, phase: Phase) -> None:
        """Arm what may strike in a phase, perform its steps, and wait until it has struck."""
        injected = self._arm(trial, stage, phase)
        self._say(stage, phase.value)
        self._perform(stage, gates, phase, injected)
        self._strike(trial, stage, injected)
        stage.observe(_MOMENT[phase])

    def _arm(self, trial: Trial, stage: Stage, phase: Phase) -> list[Injected]:
        stage.begin(phase)
        faults = [(i, fault) for i, fault in trial.bound.faults if i.phase is phase]
        # Who is frozen cannot be armed any more: what strikes at once comes last.
        faults.sort(key=lambda one: one[0].at is None and one[1].located is None)
        if faults or phase is Phase.DURING:
            self._say(stage, "arm")
        self._record_every_point()
        injected = [
            Injected(injection, fault.prepare(stage, injection.at))
            for injection, fault in faults
            if not injection.maybe or self._chosen(stage, injection)
        ]
        trial.injected = trial.injected or bool(injected)
        return injected

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
            if not self._take(stage, gates, step, phase, injected):
                break
            stage.observe(f"after {step.label or step.operation}")
        self._wait_for_holds(stage, injected)
        stage.end(phase.value)

    def _take(
        self, stage: Stage, gates: Gates, step: Step, phase: Phase, injected: Sequence[Injected]
    ) -> bool:
        if step.operation == TOGETHER:
            return self._together(stage, gates, step.steps, phase, injected)
        return self._step(stage, step, phase, injected)

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
                due = until == stage.phase
            else:
                names = {step.label, step.operation, *(a.label for a in step.steps)}
                due = number > 0 and (until in names or (until == stage.phase and last))
            held = due and self._struck(stage, one)
            if step is not None and not held and self._is_own(stage, one, step):
                one.strike.own_step = True

    @staticmethod
    def _is_own(stage: Stage, one: Injected, step: Step) -> bool:
        """Whether nobody but the very step that a hold waits for can bring it."""
        at = one.injection.at
        if at is None or step.operation == TOGETHER or stage.phase is Phase.RECOVER:
            return False
        timer = one.injection.within or stage.target.points[at.point].every_s
        return not timer and one.strike.holds_until in (step.label, step.operation)

    def _let_others_be_held(
        self, stage: Stage, injected: Sequence[Injected], step: Step, actor: str, *, last: bool
    ) -> None:
        """The same for an actor: it does not outrun the others, one of whom is to be held."""
        names = {step.label, step.operation, *([actor] if last else [])} - {""}
        for one in injected:
            own = one.injection.at is not None and one.injection.at.actor == actor != ""
            if one.strike.holds_until in names and not one.strike.struck and not own:
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
        try:
            if step.operation == REACH:
                for one in injected:
                    if str(one.injection.at) == step.arguments["point"]:
                        while not one.strike.wait(0) and stage.gatekeeper.look_again(actor):
                            pass
                        self._wait_for_strike(stage, one)
            elif step.operation in ON_SERVICE:
                return self._on_service(stage, step, phase, self._held_patience_s(stage, actor))
            else:
                stage.perform(step, actor)
        except OperationIndeterminate as error:
            # It may or may not have happened, which is no failure, but proves nothing either.
            under_fault = phase is Phase.DURING or (phase is Phase.RECOVER and bool(injected))
            if under_fault and not stage.target.operations[step.operation].asserts:
                return True
            return self._failed(stage, step, phase, f"the answer was lost: {error}")
        except ExpectationFailed as error:
            return self._failed(stage, step, phase, str(error))
        except OperationFailed as error:
            if error.status in step.allow:
                return True
            return self._failed(stage, step, phase, str(error))
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

    def _on_service(self, stage: Stage, step: Step, phase: Phase, deadline_s: float | None) -> bool:
        """Do it to every service that matches, whatever becomes of the others."""
        came_up, began = True, len(stage.history)
        for service in stage.matching(str(step.arguments["service"])):
            if step.operation in (KILL, RESTART):
                stage.kill(service)
            if step.operation != KILL:
                came_up = self._start(stage, service, f"{phase} {step}", deadline_s) and came_up
        if phase is not Phase.RECOVER:
            # Who was struck while it came up is brought back later: that attempt counts.
            struck = _strikes_since(stage.history, began)
            return self._judge_lost(stage, before_ns=min(struck.values(), default=inf))
        return came_up

    @staticmethod
    def _start(
        stage: Stage, service: Service, moment: str, deadline_s: float | None = None
    ) -> bool:
        """Let a service run, from wherever it is; whether it came up."""
        stage.starting.add(threading.current_thread())
        began_ns = time.monotonic_ns()
        try:
            _bring_back(service, deadline_s)
        except NotReady as error:
            # Another actor, or the schedule, had it die on its way up: no failed recovery.
            if stage.killed_ns(service) < began_ns:
                stage.lost.append(Lost(service.name, str(error), time.monotonic_ns(), moment))
                return False
        finally:
            stage.starting.discard(threading.current_thread())
        return True

    @staticmethod
    def _judge_lost(stage: Stage, before_ns: float = inf) -> bool:
        """Who did not come up is a finding; after ``before_ns`` it was no fair attempt.

        False when there is a finding.
        """
        findings = [lost for lost in stage.lost if lost.at_ns < before_ns]
        for lost in findings:
            stage.violate(Violation(SERVICES_RETURN, lost.moment, (lost.why,)))
        stage.lost.clear()
        return not findings

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
                stage.acting.discard(threading.current_thread())
                stage.end(actor.label)
                gates.leave(actor.label)

        threads = [
            threading.Thread(target=run, args=(actor,), name=f"chaos-{actor.label}", daemon=True)
            for actor in actors
        ]
        # A recovery that is gone through again is not held up again.
        gated = gates.expect([actor.label for actor in actors]) if injected else []
        stage.acting.update(threads)
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
        # Each step ends by the client's own deadline, or when what it waits for has.
        steps = max(len(actor.steps or (actor,)) for actor in actors)
        patience_s = stage.deadline_s + steps * max(stage.deadline_s, stage.scope.deadline_s)
        until = time.monotonic() + patience_s
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(0.0, until - time.monotonic()))
            while thread in stage.starting:  # a service takes as long as it may
                thread.join(PROBE_S)
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
        gated = gates.drives(actor.label)
        steps = actor.steps or (actor,)
        for number, step in enumerate(steps):
            # An operation goes by itself to the first point at which it is held.
            held = number > 0 or step.operation in ON_SERVICE
            if (held and not gates.enter(actor.label, str(step))) or stage.over:
                return False
            if not gated:
                last = number == len(steps) - 1
                self._let_others_be_held(stage, injected, step, actor.label, last=last)
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
            raise Vacuous(f"{one.strike.missing()} {self._seen(stage)}")

    def _struck(self, stage: Stage, one: Injected) -> bool:
        """Wait for a strike as long as anything is under way that could still bring it."""
        me = threading.current_thread()
        acts = me in stage.acting
        stage.acting.discard(me)
        try:
            return self._strikes(stage, one)
        finally:
            if acts:
                stage.acting.add(me)

    def _strikes(self, stage: Stage, one: Injected) -> bool:
        began_ns = time.monotonic_ns()
        until = time.monotonic() + stage.deadline_s
        while not one.strike.wait(PROBE_S):
            stage.raise_reaction_error()
            late = time.monotonic() >= until
            if stage.acting and not late:
                continue
            try:
                stage.target.settle(PROBE_S)
            except NotSettled:
                if not late:
                    continue
            if self._comes_round(stage, one, began_ns):
                continue
            stage.controller.catch_up()  # that all is at rest may be known before who was struck
            if one.strike.coming and not late:
                continue
            if not one.strike.wait(0):
                return False
        one.strike.struck = True
        return True

    @staticmethod
    def _comes_round(stage: Stage, one: Injected, began_ns: int) -> bool:
        """Whether a timer may still bring a strike, though nothing is under way."""
        waited_s = (time.monotonic_ns() - began_ns) / 1e9
        if waited_s < one.injection.within:
            return True
        at = one.injection.at
        every_s = stage.target.points[at.point].every_s if at is not None else 0.0
        if at is None or not every_s:
            return False
        if waited_s < every_s * (one.strike.calls + 1):  # wherever it stands now
            return True
        # On a busy machine it may be late: until it has come round so often, or is dead.
        rounds = [
            hit
            for hit in stage.reached(at.point)
            if hit.at_ns >= began_ns and fnmatchcase(hit.service, at.service or "*")
        ]
        return len(rounds) < one.strike.calls and waited_s < stage.deadline_s

    @staticmethod
    def _check_cut(stage: Stage) -> None:
        """A workload of which nothing reached the target proves nothing.

        Raises:
            Vacuous: every operation of it was cut off before anything was done for it.
        """
        stage.controller.catch_up()  # an answer may be here before what the service told meanwhile
        tried = [done for done in stage.history.operations if _is_of_workload(stage, done)]
        if tried and all(done.outcome is Kind.INDETERMINATE for done in tried):
            timers = {alias for alias, point in stage.target.points.items() if point.every_s}
            hits = [hit for hit in stage.history.of(Kind.HIT) if hit.name not in timers]
            reads = bool(stage.target.request_id_reader)
            if not any(_served(done, hit, reads=reads) for done in tried for hit in hits):
                names = ", ".join(dict.fromkeys(done.operation for done in tried))
                raise Vacuous(
                    f"Every operation of `during` ({names}) was cut off, and reached no point of "
                    "the target: nothing was done during the fault."
                )

    # ------------------------------------------------------------------ afterwards

    def _recover(self, trial: Trial, stage: Stage, gates: Gates) -> None:
        """Bring back what is down; again, when a fault has taken somebody down meanwhile."""
        began = len(stage.history)
        injected = self._arm(trial, stage, Phase.RECOVER)
        self._say(stage, Phase.RECOVER.value)
        self._bring_back(stage, gates, injected)
        stage.end(Phase.RECOVER.value)
        # Who did not come up after a strike may have died of it: the next attempt counts.
        lost = bool(stage.lost)
        self._judge_lost(
            stage, before_ns=min(_strikes_since(stage.history, began).values(), default=inf)
        )
        if injected:
            self._strike(trial, stage, injected)
            struck = _strikes_since(stage.history, began)
            if lost or self._is_down(stage, struck):
                stage.observe("struck again")
                self._say(stage, "recover again")
                self._bring_back(stage, gates)
        self._judge_lost(stage)
        stage.observe("recovered")

    def _bring_back(self, stage: Stage, gates: Gates, injected: Sequence[Injected] = ()) -> None:
        """Recover as the plan says; whatever fails, the rest of it is tried all the same."""
        steps = stage.plan.recover
        if steps is None:
            for service in stage.services.values():
                self._start(stage, service, "recovered")
        for number, step in enumerate(steps or ()):
            last = number == len(steps or ()) - 1
            self._wait_for_holds(stage, injected, step, number, last=last)
            self._take(stage, gates, step, Phase.RECOVER, injected)
        self._wait_for_holds(stage, injected)

    @staticmethod
    def _is_down(stage: Stage, struck: Mapping[str, int]) -> bool:
        """Whether one of the services that were struck is not there now."""
        services = [stage.services[name] for name in struck if name in stage.services]
        return any(service.state is not ServiceState.READY for service in services)

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
        try:
            stage.observe(moment, *Checked)
        except WorldMoved as error:
            stage.violate(Violation(SETTLES, moment, (f"it says that it is at rest; {error}",)))
            return False
        return True

    def _clean_up(self, stage: Stage) -> None:
        """Invariant 13: one user delete of everything brings the world back."""
        self._say(stage, "clean up")
        before, world = stage.observations[0].world, stage.target.observe()
        if world.leaks_since(before):  # otherwise nothing is left that could be deleted
            try:
                stage.target.clean_up(stage.scope)
                stage.target.settle(stage.deadline_s)
            except ChaosError as error:
                stage.violate(Violation(RECOVERABLE, "cleaned up", (str(error),)))
                return
            world = stage.target.observe()
            leaks = world.leaks_since(before)
            if leaks:
                stage.violate(Violation(RECOVERABLE, "cleaned up", tuple(map(str, leaks))))
        # What a user cannot delete, such as a log of actions, would pile up from trial to trial.
        stage.changed = world != before or bool(stage.violations)

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
            ending.callback(attempt, partial(self._disarm, stage))
            ending.callback(attempt, self.undo.undo_all)  # first: a frozen service cannot answer
        return f"Not everything could be undone: {'; '.join(failures)}" if failures else ""

    def _disarm(self, stage: Stage) -> None:
        """Take away what strikes; what only tells stays for the trial's other rounds."""
        for arm in self._listening:
            arm.forget()
        self.controller.disarm(stage.arms)

    def _record_every_point(self) -> None:
        """Have every known point tell when it is passed: for the timeline, and for VACUOUS."""
        wanted = [
            ArmRequest(point, When.BEFORE, Action.record(), alias=alias, times=None)
            for alias, point in self.target.points.items()
            if alias not in self._recorded
        ]
        self._listening += self.controller.arm_all(wanted)
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


_MOMENT = {Phase.DURING: "struck", Phase.THEN: "then struck"}


def _bring_back(service: Service, deadline_s: float | None = None) -> None:
    if service.state is ServiceState.FROZEN:
        service.thaw()
    service.start(deadline_s)


def _strikes_since(history: History, number: int) -> dict[str, int]:
    """Service → when the first fault since that event struck it."""
    struck: dict[str, int] = {}
    for event in list(history)[number:]:
        hit = event.kind is Kind.HIT and event.data["action"] not in ("record", "pause")
        if hit or (event.kind is Kind.FAULT and event.data.get("dies", True)):
            at_ns = event.data.get("began_ns", event.at_ns)
            struck[event.lane] = min(at_ns, struck.get(event.lane, at_ns))
    return struck


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
    starting: set[str] = set()
    for event in history.of(Kind.HIT, Kind.SERVICE):
        if event.name == "killed" or event.data.get("action") == "crash":
            explained.add(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "started":
            starting.add(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "ready":
            starting.discard(event.lane)
        elif event.kind is Kind.SERVICE and event.name == "exited":
            # That one did not come up is told by who started it.
            if event.lane not in explained | starting:
                how = event.data.get("signal") or event.data.get("code")
                yield f"{event.lane} ended by itself ({how}); see its log"
            explained.discard(event.lane)
            starting.discard(event.lane)
