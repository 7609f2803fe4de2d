"""The course of a round, which reads top to bottom as :meth:`Course.run` does.

Steady state → given → during → recover → settle → invariants → then → clean up, where each phase
(*during*, *recover*, *then*) is: arm → steps → strike.
"""

from __future__ import annotations

from math import inf

from chaos.engine.gates import Gates
from chaos.engine.invocation import perform
from chaos.engine.judgement import check_served
from chaos.engine.recovery import Recovery, strikes_since
from chaos.engine.rounds import Rounds
from chaos.engine.stage import Stage
from chaos.engine.steady import Steady, SteadyStates
from chaos.engine.strikes import Injected, Strikes
from chaos.engine.workload import Workload
from chaos.errors import ChaosError, NotSettled, WorldMoved
from chaos.history import Kind
from chaos.invariant import NO_DEADLOCK, RECOVERABLE, SETTLES, Checked, Violation
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate
from chaos.plan import RESTART, START, Injection, Phase

STRIKES = "strikes"
"""The name of the choice whether a fault that ``maybe`` strikes does."""

_MOMENT = {Phase.DURING: "struck", Phase.THEN: "then struck"}


class Course:
    """Goes through the parts of a plan once."""

    def __init__(self, rounds: Rounds, stage: Stage, gates: Gates, states: SteadyStates) -> None:
        self._rounds = rounds
        self._stage = stage
        self._gates = gates
        self._states = states
        self._recovery = Recovery(stage)

    def run(self, steady: Steady | None) -> None:
        """Go from the steady state, one that was kept or a new one, to the clean-up.

        What did not hold is a violation on the stage.

        Raises:
            Vacuous: a fault did not strike.
            ChaosError: the plan could not be gone through.
        """
        if steady is None:
            self._stage.observe("before")
            self._given()
        else:
            steady.resume(self._stage)
        self._phase(Phase.DURING)
        check_served(self._stage)
        self._recover()
        if not self._settle("settled"):
            return
        if self._has_then:
            self._then()
            if not self._settle("then"):
                return
        self._clean_up()

    # ------------------------------------------------------------------ given

    def _given(self) -> None:
        stage = self._stage
        self._say("given")
        try:
            for step in stage.plan.given:
                perform(stage, self._gates.racers, step)
            if stage.plan.given:
                stage.target.settle(stage.deadline_s)
        except (OperationFailed, OperationIndeterminate, ExpectationFailed) as error:
            raise ChaosError(f"`given` could not be established: {error}") from error
        stage.observe("given", *Checked)
        if stage.violations:
            raise ChaosError(
                f"no steady state to start from: {'; '.join(map(str, stage.violations))}"
            )
        kept = stage.target.keep() if stage.plan.given else None
        if kept is not None:
            self._states.keep(self._rounds.bound, self._rounds.bugs, Steady.of(stage, kept))

    # ------------------------------------------------------------------ during, then

    def _phase(self, phase: Phase) -> None:
        """Arm what may strike in a phase, perform its steps, and wait until it has struck."""
        strikes = self._arm(phase)
        self._say(phase.value)
        self._workload(phase, strikes).perform(getattr(self._stage.plan, phase.value))
        self._stage.end(phase.value)
        self._strike(strikes)
        self._stage.observe(_MOMENT[phase])

    def _arm(self, phase: Phase) -> Strikes:
        stage = self._stage
        stage.begin(phase)
        faults = [(i, fault) for i, fault in self._rounds.bound.faults if i.phase is phase]
        # Who is frozen cannot be armed any more: what strikes at once comes last.
        faults.sort(key=lambda one: one[0].at is None and one[1].located is None)
        if faults or phase is Phase.DURING:
            self._say("arm")
        stage.listening.record_every_point()
        strikes = Strikes(
            stage,
            [
                Injected(injection, fault.prepare(stage, injection.at))
                for injection, fault in faults
                if not injection.maybe or self._is_chosen(injection)
            ],
        )
        self._rounds.note_injected(strikes)
        return strikes

    def _is_chosen(self, injection: Injection) -> bool:
        return self._stage.choose(f"{STRIKES}: {injection}", ("strike", "spare")) == "strike"

    def _workload(self, phase: Phase, strikes: Strikes) -> Workload:
        return Workload(self._stage, self._gates, self._recovery, phase, strikes)

    def _strike(self, strikes: Strikes) -> None:
        strikes.finish()
        self._rounds.note_struck(strikes)
        self._stage.reactions.join(self._stage.deadline_s)
        self._stage.reactions.raise_error()

    @property
    def _has_then(self) -> bool:
        plan, faults = self._stage.plan, self._rounds.bound.faults
        return bool(plan.then) or any(injection.phase is Phase.THEN for injection, _ in faults)

    def _then(self) -> None:
        """The same with what comes then; who goes down in it is brought back."""
        stage = self._stage
        began = len(stage.history)
        self._phase(Phase.THEN)
        killed = {event.lane for event in stage.history.since(began) if event.name == "killed"}
        if self._recovery.is_needed(killed | strikes_since(stage.history, began).keys()):
            self._bring_back(Strikes(stage), again=True)
            self._recovery.judge()

    # ------------------------------------------------------------------ recover

    def _recover(self) -> None:
        """Bring back what is down; again, when a fault has taken somebody down meanwhile."""
        stage = self._stage
        began = len(stage.history)
        strikes = self._arm(Phase.RECOVER)
        self._say(Phase.RECOVER.value)
        self._bring_back(strikes)
        stage.end(Phase.RECOVER.value)
        # Who did not come up after a strike may have died of it: the next attempt counts.
        lost = self._recovery.lost
        self._recovery.judge(
            before_ns=min(strikes_since(stage.history, began).values(), default=inf)
        )
        if strikes:
            self._strike(strikes)
            struck = strikes_since(stage.history, began)
            if lost or self._recovery.is_needed(struck):
                stage.observe("struck again")
                self._say("recover again")
                self._bring_back(Strikes(stage), again=True)
        self._recovery.judge()
        stage.observe("recovered")

    def _bring_back(self, strikes: Strikes, *, again: bool = False) -> None:
        """Recover as the plan says; where it says nothing, start every service.

        What is done ``again`` is to start services: no client operation, and nobody is killed.
        """
        steps = self._stage.plan.recover
        if again and steps is not None:
            steps = tuple(step for step in steps if step.operation in (START, RESTART))
        if steps is None:
            for service in self._stage.services.values():
                self._recovery.start(service, "recovered")
        self._workload(Phase.RECOVER, strikes).attempt(steps or ())

    # ------------------------------------------------------------------ at rest

    def _settle(self, moment: str) -> bool:
        """Wait until all is at rest, and check what must hold then; False when it never is."""
        stage = self._stage
        self._say("settle")
        try:
            stage.target.settle(stage.deadline_s)
        except NotSettled as error:
            stage.observe(moment)
            if self._gates.standstill:
                stage.violate(Violation(NO_DEADLOCK, moment, (self._gates.standstill,)))
            stage.violate(Violation(SETTLES, moment, (str(error),)))
            return False
        try:
            stage.observe(moment, *Checked)
        except WorldMoved as error:
            stage.violate(Violation(SETTLES, moment, (f"it says that it is at rest; {error}",)))
            return False
        return True

    def _clean_up(self) -> None:
        """One user delete of everything brings the world back."""
        stage = self._stage
        self._say("clean up")
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

    def _say(self, phase: str) -> None:
        self._stage.tell(Kind.STEP, "plan", phase, phase)
