"""The engine: runs a plan, round by round, and says what it proves.

Each round goes its :class:`Course <chaos.engine.course.Course>`; whatever happens in it, it is
judged, and ends by undoing.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from chaos.engine.course import Course
from chaos.engine.gates import Gates
from chaos.engine.judgement import broken, judge, judge_cut_short
from chaos.engine.listening import Listening
from chaos.engine.recovery import let_run
from chaos.engine.rounds import Rounds
from chaos.engine.stage import Stage
from chaos.engine.steady import Steady, SteadyStates
from chaos.errors import ChaosError, NotReady
from chaos.failpoints.controller import Controller
from chaos.history import Event, History, Kind
from chaos.hit import Hit
from chaos.invariant import SERVICES_RETURN, Violation
from chaos.language.bind import BoundPlan
from chaos.operation import Scope
from chaos.safety.undo import UndoLog
from chaos.schedule import Choices, Schedule, Strategy
from chaos.search import Stated, strategy
from chaos.target import Target
from chaos.verdict import Outcome, Verdict

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
        self._listening = Listening(target, controller)
        self._steady = SteadyStates()

    # ------------------------------------------------------------------ all rounds

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
        rounds = Rounds(bound, bugs, by or strategy(bound.plan.schedules))
        ended_well = False
        try:
            outcome = self._schedules(rounds)
            ended_well = outcome.verdict is Verdict.PASS
            if outcome.verdict is Verdict.PASS:
                rounds.check_proof(stated=stated)
        except Exception as error:
            self._dirty = True
            return replace(broken(error), rounds=rounds.number)
        finally:
            self._end_trial(ended_well=ended_well)
        if outcome.verdict is not Verdict.PASS:
            return outcome  # the search has not come to its end
        return replace(outcome, account=rounds.strategy.account)

    def _schedules(self, rounds: Rounds) -> Outcome:
        outcome = Outcome(Verdict.ERROR, "the plan was not executed", rounds=0)
        while rounds.strategy.begin():
            by = rounds.strategy
            for _ in range(rounds.bound.plan.repeat):
                outcome, schedule = self._round(rounds, by)
                if outcome.verdict is not Verdict.PASS:
                    return outcome
                by = Stated([str(schedule)])
                by.begin()
            rounds.check_held()
            rounds.strategy.end(schedule)
        return outcome

    def _end_trial(self, *, ended_well: bool) -> None:
        try:
            if ended_well:
                self._listening.end_trial()
            else:
                self._listening.stop()
        except ChaosError:
            self._dirty = True  # who does not answer is started anew by the reset

    @property
    def missing_points(self) -> Mapping[str, str]:
        """Points of the target that lie nowhere in it, by alias, and what is wrong with them."""
        return self._listening.missing

    def stop_listening(self) -> None:
        """Have nothing armed at all, until the next trial."""
        self._listening.stop()

    # ------------------------------------------------------------------ one round

    def _round(self, rounds: Rounds, by: Strategy) -> tuple[Outcome, Schedule]:
        steady = self._steady.of(rounds.bound, rounds.bugs)
        self._reset(rounds, steady)
        rounds.number += 1
        number, plan = rounds.number, rounds.bound.plan
        choices = Choices(by)
        open_ = True

        def sink(event: Event) -> None:
            if open_:  # an actor that never came back may still tell of its end, much later
                self.on_event(number, event)

        history = History(sink)
        stage = Stage(
            plan, self.target, self.controller, self.undo, history, rounds.bound.invariants,
            Scope(
                self.target.client(),
                deadline_s=plan.settle or self.target.limits.client_s,
                poll_s=self.target.limits.poll_s,
            ),
            choices, self._listening,
        )  # fmt: skip
        gates = Gates(stage)
        stage.gatekeeper = gates
        self._stage, self._dirty = stage, True  # until it has ended well; an interrupt does not
        try:
            outcome = self._judged(stage, Course(rounds, stage, gates, self._steady), steady)
            note = self._undone(stage)
        finally:
            self._stage, open_ = None, False
        if note and outcome.verdict is Verdict.PASS:
            outcome = Outcome(Verdict.ERROR, note)
        elif note:
            outcome = replace(outcome, note=note)
        outcome = replace(outcome, schedule=choices.schedule, rounds=number)
        self._dirty = stage.changed or outcome.verdict is not Verdict.PASS
        rounds.note_schedule(choices.schedule, blocked=gates.blocked)
        self.on_round(number, outcome, history)
        return outcome, choices.schedule

    def _reset(self, rounds: Rounds, steady: Steady | None) -> None:
        if steady is not None:
            self.target.reset(rounds.bugs, steady.kept)
        elif self._dirty or self._bugs != rounds.bugs:
            self.target.reset(rounds.bugs)
        self._dirty, self._bugs = False, rounds.bugs

    def _judged(self, stage: Stage, course: Course, steady: Steady | None) -> Outcome:
        try:
            try:
                course.run(steady)
            except NotReady as error:  # of a fault that brings back what it took down
                stage.violate(Violation(SERVICES_RETURN, stage.phase.value, (str(error),)))
            stage.history.check()
        except Exception as error:
            return judge_cut_short(stage, error)
        return judge(stage)

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
                ending.callback(attempt, partial(let_run, service))
            ending.callback(attempt, self.undo.undo_all)  # what a reaction did meanwhile
            ending.callback(attempt, stage.close)
            ending.callback(attempt, partial(self._disarm, stage))
            ending.callback(attempt, self.undo.undo_all)  # first: a frozen service cannot answer
        return f"Not everything could be undone: {'; '.join(failures)}" if failures else ""

    def _disarm(self, stage: Stage) -> None:
        """Take away what strikes; what only tells stays."""
        self._listening.forget_hits()
        self.controller.disarm(stage.arms)

    # ------------------------------------------------------------------ what is told meanwhile

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
