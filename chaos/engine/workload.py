"""The workload: the steps of one part of a plan, one after the other or ``together``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from math import inf

from chaos.engine.gates import Gates
from chaos.engine.invocation import perform
from chaos.engine.racers import HELD_PATIENCE
from chaos.engine.recovery import Recovery, strikes_since
from chaos.engine.stage import Stage
from chaos.engine.strikes import PROBE_S, Strikes
from chaos.errors import ChaosError
from chaos.invariant import STEPS_SUCCEED, Violation
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate
from chaos.plan import KILL, ON_SERVICE, REACH, RESTART, TOGETHER, Phase, Step


class Workload:
    """Performs steps of one phase, during which its faults may strike."""

    def __init__(
        self, stage: Stage, gates: Gates, recovery: Recovery, phase: Phase, strikes: Strikes
    ) -> None:
        self._stage = stage
        self._gates = gates
        self._recovery = recovery
        self._phase = phase
        self._strikes = strikes

    def perform(self, steps: Sequence[Step]) -> None:
        """Perform them, and look at the world after each, until one fails."""
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            self._strikes.wait_for_holds(step, number, last=last)
            if not self._take(step):
                break
            self._stage.observe(f"after {step.label or step.operation}")
        self._strikes.wait_for_holds()

    def attempt(self, steps: Sequence[Step]) -> None:
        """Perform them; whatever fails, the rest of it is tried all the same."""
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            self._strikes.wait_for_holds(step, number, last=last)
            self._take(step)
        self._strikes.wait_for_holds()

    def _take(self, step: Step) -> bool:
        return self._together(step.steps) if step.operation == TOGETHER else self._step(step)

    # ------------------------------------------------------------------ one step

    def _step(self, step: Step, actor: str = "") -> bool:
        """Perform one step of the plan; False when it failed in a way the plan does not allow."""
        stage = self._stage
        stage.wait_for_deaths()
        try:
            if step.operation == REACH:
                self._reach(step, actor)
            elif step.operation in ON_SERVICE:
                return self._on_service(step, actor)
            else:
                perform(stage, self._gates.racers, step, actor)
        except OperationIndeterminate as error:
            # It may or may not have happened, which is no failure, but proves nothing either.
            under_fault = self._phase is Phase.DURING or (
                self._phase is Phase.RECOVER and bool(self._strikes)
            )
            if under_fault and not stage.target.operations[step.operation].asserts:
                return True
            return self._failed(step, f"the answer was lost: {error}")
        except ExpectationFailed as error:
            return self._failed(step, str(error))
        except OperationFailed as error:
            if error.status in step.allow:
                return True
            return self._failed(step, str(error))
        finally:
            stage.end(step.label, step.operation)
        return True

    def _failed(self, step: Step, why: str) -> bool:
        self._stage.violate(Violation(STEPS_SUCCEED, f"{self._phase} {step}", (why,)))
        return False

    def _reach(self, step: Step, actor: str) -> None:
        """Wait until the faults at a point have struck."""
        for one in self._strikes:
            at = one.injection.at
            if at is not None and at.place == step.arguments["point"]:
                while not one.strike.wait(0) and self._gates.racers.look_again(actor):
                    pass
                self._strikes.wait_for(one)

    def _on_service(self, step: Step, actor: str) -> bool:
        """Do it to every service that matches, whatever becomes of the others."""
        stage = self._stage
        came_up, began = True, len(stage.history)
        # Until when a service has to be ready whose start may be held; None: as it says.
        held_s = self._gates.racers.held_at_most_s(actor)
        deadline_s = held_s + stage.target.limits.start_s if held_s else None
        for service in stage.matching(str(step.arguments["service"])):
            if step.operation in (KILL, RESTART):
                stage.kill(service)
            if step.operation != KILL:
                moment = f"{self._phase} {step}"
                came_up = self._recovery.start(service, moment, deadline_s) and came_up
        if self._phase is not Phase.RECOVER:
            # Who was struck while it came up is brought back later: that attempt counts.
            struck = strikes_since(stage.history, began)
            return self._recovery.judge(before_ns=min(struck.values(), default=inf))
        return came_up

    # ------------------------------------------------------------------ several at once

    def _together(self, actors: Sequence[Step]) -> bool:
        """Have every actor perform its steps, in a thread of its own."""
        stage, gates = self._stage, self._gates
        succeeded: list[bool] = []
        errors: list[BaseException] = []

        def run(actor: Step) -> None:
            try:
                succeeded.append(self._act(actor))
            except BaseException as error:
                errors.append(error)
            finally:
                stage.acting.discard(threading.current_thread())
                stage.end(actor.label)
                gates.racers.leave(actor.label)

        threads = [
            threading.Thread(target=run, args=(actor,), name=f"chaos-{actor.label}", daemon=True)
            for actor in actors
        ]
        # A recovery that is gone through again is not held up again.
        gated = gates.expect([actor.label for actor in actors]) if self._strikes else []
        stage.acting.update(threads)
        for thread, actor in zip(threads, actors, strict=True):
            if actor.label not in gated:
                thread.start()
        try:
            if gated:
                started = zip(actors, threads, strict=True)
                gates.drive([thread for actor, thread in started if actor.label in gated])
        except Exception:
            self._join(actors, threads)  # nobody may act in a later round
            raise
        patience_s = self._join(actors, threads)
        if errors:
            raise errors[0]
        waiting = [thread.name.removeprefix("chaos-") for thread in threads if thread.is_alive()]
        if waiting:
            raise ChaosError(
                f"{', '.join(waiting) or 'a step'} of `{TOGETHER}` has not ended after "
                f"{patience_s:g} s"
            )
        return all(succeeded)

    def _join(self, actors: Sequence[Step], threads: Sequence[threading.Thread]) -> float:
        """Wait until these have ended; for how many seconds at most."""
        stage = self._stage
        # Each step ends by the client's own deadline, or when what it waits for has.
        steps = max(len(actor.steps or (actor,)) for actor in actors)
        held_s = HELD_PATIENCE * stage.deadline_s if self._gates.racers.labels else 0.0
        step_s = max(stage.deadline_s, stage.scope.deadline_s + held_s)
        patience_s = stage.deadline_s + steps * step_s
        until = time.monotonic() + patience_s
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(0.0, until - time.monotonic()))
            while thread in stage.changing:  # a service takes as long as it may
                thread.join(PROBE_S)
        return patience_s

    def _act(self, actor: Step) -> bool:
        """Perform the steps of one actor."""
        stage, racers = self._stage, self._gates.racers
        gated = racers.drives(actor.label)
        steps = actor.steps or (actor,)
        for number, step in enumerate(steps):
            # An operation goes by itself to the first point at which it is held.
            held = number > 0 or step.operation in ON_SERVICE
            if (held and not racers.enter(actor.label, str(step))) or stage.over:
                return False
            if not gated:
                last = number == len(steps) - 1
                self._strikes.let_others_be_held(step, actor.label, last=last)
            operation = stage.target.operations.get(step.operation)
            looks = step.operation == REACH or (operation is not None and operation.asserts)
            racers.look(actor.label, looking=looks)
            if not self._step(step, actor.label):
                return False
            racers.look(actor.label, looking=False)
        return True
