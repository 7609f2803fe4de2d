"""The stage: what the engine and the faults of one round can reach and do."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from chaos.action import Action
from chaos.errors import ChaosError
from chaos.failpoints.controller import Arm, Controller, Hit
from chaos.history import History, Kind
from chaos.invariant import Checked, Evidence, Invariant, Observation, Violation
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate, Scope
from chaos.plan import Location, Plan
from chaos.safety.undo import UndoLog
from chaos.target import Service, Target


@dataclass(slots=True)
class Stage:
    """One round of a plan under way."""

    plan: Plan
    target: Target
    controller: Controller
    undo: UndoLog
    history: History
    invariants: tuple[Invariant, ...]
    scope: Scope
    requests: dict[str, str] = field(default_factory=dict)
    """Step label → the request id under which it runs."""
    observations: list[Observation] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    """Every hit so far; grows before the history tells of it."""
    ended: dict[str, int] = field(default_factory=dict)
    """When (monotonic nanoseconds) each label and operation of `during` first ended; `during` once
    all have."""
    _reactions: list[threading.Thread] = field(default_factory=list)
    _reaction_errors: list[BaseException] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _over: bool = False

    def __post_init__(self) -> None:
        for step in self.plan.steps():
            if step.label:
                self.requests[step.label] = new_request_id()

    # ------------------------------------------------------------------ for faults

    @property
    def deadline_s(self) -> float:
        """Seconds that anything in this round may take."""
        return self.plan.settle

    @property
    def services(self) -> Mapping[str, Service]:
        """The target's services."""
        return self.target.services

    def matching(self, pattern: str) -> list[Service]:
        """The services whose name matches a shell pattern."""
        return [s for name, s in self.services.items() if fnmatchcase(name, pattern)]

    def arm(self, at: Location, action: Action, *, times: int | None = 1) -> Arm:
        """Put an action at a location of the plan; undone when the round ends."""
        return self.controller.arm(
            self.target.points[at.point],
            at.when,
            action,
            alias=at.point,
            requests=(self.requests[at.actor],) if at.actor else None,
            occurrence=at.occurrence,
            times=times,
            services=at.service or None,
        )

    def hits_of(self, *arms: Arm) -> list[Hit]:
        """The hits of these arms so far; waiting on the history never misses one."""
        numbers = {arm.number for arm in arms}
        return [hit for hit in self.hits if hit.arm in numbers]

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

        thread = threading.Thread(target=run, name=f"chaos-{name}", daemon=True)
        self._reactions.append(thread)
        thread.start()

    def wait_for(self, happened: Callable[[], bool], deadline_s: float | None) -> bool:
        """Wait until ``happened()``, asked after each event, for as long as the round lasts.

        False after ``deadline_s`` seconds, or when the round is over.
        """
        self.history.wait_for(lambda: self._over or happened(), deadline_s)
        return happened()

    def wait_ended(self, step: str, deadline_s: float) -> bool:
        """Wait until the `during` step of this label or operation has ended."""
        return self.wait_for(lambda: step in self.ended, deadline_s)

    def observe(self, moment: str, *checked: Checked) -> None:
        """Look at the world now and check the invariants of these kinds (default: *always*)."""
        seen = Observation(moment, time.monotonic_ns(), self.target.observe())
        earlier = self.observations[-1].world if self.observations else seen.world
        self.observations.append(seen)
        changes = [str(change) for change in seen.world.changes_since(earlier)]
        self.history.add(Kind.WORLD, "world", moment, changes=changes)
        evidence = Evidence(tuple(self.observations), self.history)
        for item in self.invariants:
            if item.checked in (checked or {Checked.ALWAYS}):
                self.violate(item.violation(evidence))

    # ------------------------------------------------------------------ for the engine

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

    def perform(self, operation: str, arguments: Mapping[str, object], label: str = "") -> None:
        """Invoke one client operation; its end goes into the history.

        Raises:
            OperationFailed: the target said no.
            OperationIndeterminate: the answer was lost.
            ExpectationFailed: it asserted something that is not so.
        """
        request = self.requests.get(label) or new_request_id()
        ident = next(self._numbers)
        actor = label or operation
        self.history.add(
            Kind.INVOKE, "client", operation,
            actor=actor, operation=ident, arguments=dict(arguments), request=request,
        )  # fmt: skip
        run = self.target.operations[operation].function
        try:
            answer = run(self.scope.actor(request), **arguments)
        except (OperationFailed, ExpectationFailed) as error:
            self.history.add(
                Kind.FAIL, "client", operation, actor=actor, operation=ident,
                error=str(error), status=getattr(error, "status", None),
            )  # fmt: skip
            raise
        except OperationIndeterminate as error:
            self.history.add(
                Kind.INDETERMINATE, "client", operation,
                actor=actor, operation=ident, error=str(error),
            )  # fmt: skip
            raise
        self.history.add(Kind.OK, "client", operation, actor=actor, operation=ident, answer=answer)

    def end(self, *names: str) -> None:
        """Note that `during` steps have ended, for faults that wait for them."""
        for name in filter(None, names):
            self.ended.setdefault(name, time.monotonic_ns())
        self.history.add(Kind.STEP, "plan", "ended", text=" ".join(filter(None, names)))

    def close(self) -> None:
        """The round is over: let every reaction end, and wait until it has."""
        self._over = True
        self.history.ask_again()
        self._join(self.deadline_s)

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


def new_request_id() -> str:
    """An id in the form that OpenStack services accept from outside."""
    return f"req-{uuid.uuid4()}"
