"""The engine: runs a plan, round by round, and says what it proves.

A round reads top to bottom as :meth:`Engine._play` does: steady state → given → arm → during →
strike → recover → settle → invariants → then → clean up; whatever happens, it ends by undoing.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError, NotSettled, Vacuous
from chaos.failpoints.controller import ArmRequest, Controller, Hit
from chaos.fault import Fault, Strike, Variation
from chaos.history import Event, History, Kind
from chaos.invariant import (
    ALWAYS_JUDGED,
    RECOVERABLE,
    SERVICES_LIVE,
    SETTLES,
    STEPS_SUCCEED,
    Checked,
    Violation,
)
from chaos.language.bind import BoundPlan
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate, Scope
from chaos.plan import REACH, TOGETHER, Injection, Step
from chaos.point import When
from chaos.safety.undo import UndoLog
from chaos.target import Service, ServiceState, Target
from chaos.verdict import Outcome, Verdict

PROBE_S = 0.05
"""How long to wait for a strike before asking whether anything is still under way at all."""

RoundSink = Callable[[int, Event], None]


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

    def run(self, bound: BoundPlan, bugs: frozenset[str] = frozenset(), order: str = "") -> Outcome:
        """Execute every variation of a plan until one does not pass.

        ``bugs`` are switched on in the target meanwhile; ``order`` asks for one order of a race.
        """
        outcome = Outcome(Verdict.ERROR, "the plan was not executed", rounds=0)
        try:
            for variation in self._variations(bound, order):
                if self._dirty or self._bugs != bugs:
                    self.target.reset(bugs)
                    self._dirty, self._bugs = False, bugs
                number = outcome.rounds + 1
                outcome = replace(self._round(bound, variation, number), rounds=number)
                if outcome.verdict is not Verdict.PASS:
                    break
        except Exception as error:
            self._dirty = True
            return replace(_broken(error), rounds=outcome.rounds)
        return outcome

    @staticmethod
    def _variations(bound: BoundPlan, order: str) -> Iterator[Variation]:
        varied = [fault for _, fault in bound.faults if _varies(fault)]
        if len(varied) > 1:
            raise ChaosError(f"plan `{bound.plan.name}` has more than one fault with variations")
        return varied[0].variations(order) if varied else iter([Variation()])

    def _round(self, bound: BoundPlan, variation: Variation, number: int) -> Outcome:
        plan = bound.plan
        history = History(lambda event: self.on_event(number, event))
        stage = Stage(
            plan, self.target, self.controller, self.undo, history, bound.invariants,
            Scope(self.target.client(), deadline_s=plan.settle),
        )  # fmt: skip
        self._stage, self._dirty = stage, True  # until it has ended well; an interrupt does not
        try:
            with self._undoing(stage):
                self._play(stage, bound.faults, variation)
            history.check()
            outcome = self._judge(stage)
        except Exception as error:
            outcome = _broken(error)
        finally:
            self._stage = None
        outcome = replace(outcome, schedule=str(variation))
        # Also a violation that the plan does not judge leaves something behind.
        self._dirty = bool(stage.violations) or outcome.verdict is not Verdict.PASS
        self.on_round(number, outcome, history)
        return outcome

    # ------------------------------------------------------------------ a round

    def _play(
        self, stage: Stage, faults: tuple[tuple[Injection, Fault], ...], variation: Variation
    ) -> None:
        stage.observe("before")
        self._given(stage)
        strikes = self._arm(stage, faults, variation)
        self._during(stage, strikes)
        self._strike(stage, strikes)
        stage.observe("struck")
        self._recover(stage)
        if self._settle(stage, "settled"):
            self._then(stage)
            self._clean_up(stage)

    def _given(self, stage: Stage) -> None:
        self._say(stage, "given")
        try:
            for step in stage.plan.given:
                stage.perform(step.operation, step.arguments, step.label)
            stage.target.settle(stage.deadline_s)
        except (OperationFailed, OperationIndeterminate, ExpectationFailed) as error:
            raise ChaosError(f"`given` could not be established: {error}") from error
        stage.observe("given", *Checked)
        if stage.violations:
            raise ChaosError(
                f"no steady state to start from: {'; '.join(map(str, stage.violations))}"
            )

    def _arm(
        self, stage: Stage, faults: tuple[tuple[Injection, Fault], ...], variation: Variation
    ) -> list[tuple[Injection, Strike]]:
        self._say(stage, "arm")
        self._record_every_point()
        return [
            (injection, fault.prepare(stage, injection.at, variation))
            for injection, fault in faults
        ]

    def _during(self, stage: Stage, strikes: list[tuple[Injection, Strike]]) -> None:
        self._say(stage, "during")
        for step in stage.plan.during:
            if step.operation == REACH:
                for injection, strike in strikes:
                    if str(injection.at) == step.arguments["point"]:
                        self._wait_for_strike(stage, strike)
                continue
            if not self._step(stage, step, "during"):
                break
            stage.observe(f"after {step.label or step.operation}")
        stage.end("during")

    def _step(self, stage: Stage, step: Step, phase: str) -> bool:
        """Perform one step of the plan; False when it failed in a way the plan does not allow."""
        if step.operation == TOGETHER:
            return self._together(stage, step.together, phase)
        try:
            stage.perform(step.operation, step.arguments, step.label)
        except OperationIndeterminate:
            return True  # recorded; it may or may not have happened, which is no failure
        except (OperationFailed, ExpectationFailed) as error:
            if getattr(error, "status", None) in step.allow:
                return True
            stage.violate(Violation(STEPS_SUCCEED, f"{phase} {step}", (str(error),)))
            return False
        finally:
            stage.end(step.label, step.operation)
        return True

    def _together(self, stage: Stage, steps: tuple[Step, ...], phase: str) -> bool:
        succeeded: list[bool] = []
        errors: list[BaseException] = []

        def run(step: Step) -> None:
            try:
                succeeded.append(self._step(stage, step, phase))
            except BaseException as error:
                errors.append(error)

        actors = [
            threading.Thread(target=run, args=(step,), name=f"chaos-{step.label}", daemon=True)
            for step in steps
        ]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        if errors:
            raise errors[0]
        return all(succeeded)

    def _strike(self, stage: Stage, strikes: list[tuple[Injection, Strike]]) -> None:
        for _, strike in strikes:
            self._wait_for_strike(stage, strike)
        for _, strike in strikes:
            strike.finish(stage.deadline_s)
        stage.join_reactions(stage.deadline_s)

    def _wait_for_strike(self, stage: Stage, strike: Strike) -> None:
        """Wait for the strike as long as anything is under way that could still bring it."""
        until = time.monotonic() + stage.deadline_s
        while not strike.wait(PROBE_S):
            stage.raise_reaction_error()
            try:
                stage.target.settle(PROBE_S)
            except NotSettled:
                if time.monotonic() < until:
                    continue
            if not strike.wait(0):
                told = (str(violation).rstrip(".") for violation in stage.violations)
                before = "".join(f" Before that: {violation}." for violation in told)
                raise Vacuous(f"{strike.missing()}{before} {self._seen(stage)}")

    def _recover(self, stage: Stage) -> None:
        self._say(stage, "recover")
        if stage.plan.recover is None:
            for service in stage.services.values():
                _bring_back(service)
        for recovery in stage.plan.recover or ():
            for service in stage.matching(recovery.service):
                if recovery.restart:
                    service.kill()
                _bring_back(service)
        stage.observe("recovered")

    def _settle(self, stage: Stage, moment: str) -> bool:
        self._say(stage, "settle")
        try:
            stage.target.settle(stage.deadline_s)
        except NotSettled as error:
            stage.observe(moment)
            stage.violate(Violation(SETTLES, moment, (str(error),)))
            return False
        stage.observe(moment, *Checked)
        return True

    def _then(self, stage: Stage) -> None:
        if stage.plan.then:
            self._say(stage, "then")
            if all(self._step(stage, step, "then") for step in stage.plan.then):
                self._settle(stage, "then")

    def _clean_up(self, stage: Stage) -> None:
        """Invariant 13: one user delete of everything brings the world back."""
        self._say(stage, "clean up")
        try:
            stage.target.clean_up(stage.scope.client, stage.deadline_s)
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

    @contextmanager
    def _undoing(self, stage: Stage) -> Iterator[None]:
        """Whatever happens inside, nothing of the fault outlives it."""
        with ExitStack() as ending:  # backwards, and each whatever happens to the others
            for service in reversed(list(stage.services.values())):
                ending.callback(_bring_back, service)
            ending.callback(self.undo.undo_all)  # what a reaction did meanwhile
            ending.callback(stage.close)
            ending.callback(self._recorded.clear)
            ending.callback(self.controller.disarm_all)
            ending.callback(self.undo.undo_all)  # first: a frozen service could not answer
            yield

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
        if stage is None:
            return
        stage.hits.append(hit)
        actors = {request: label for label, request in stage.requests.items()}
        stage.history.add(
            Kind.HIT,
            hit.service,
            hit.alias,
            actor=actors.get(hit.request or "", ""),
            when=hit.when.value,
            action=hit.action,
            request=hit.request,
            thread=hit.thread,
        )

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


def _bring_back(service: Service) -> None:
    if service.state is ServiceState.FROZEN:
        service.thaw()
    service.start()


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


def _varies(fault: Fault) -> bool:
    return type(fault).variations is not Fault.variations
