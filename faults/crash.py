"""crash: the process that reaches the point dies there, or its whole service."""

from __future__ import annotations

from pydantic import Field

from chaos.action import Action, Scope
from chaos.errors import ChaosError
from chaos.fault import Armed, Fault, FaultContext, Strike
from chaos.history import Kind
from chaos.hit import Hit
from chaos.plan import Location
from faults.hitting import Hitting


class Crash(Fault):
    """The process that reaches the point dies there by SIGKILL."""

    scope: Scope = Field(
        "process",
        description="who dies: the process (of a service that forks, one worker), or the service",
    )

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Arm the crash."""
        assert at is not None
        return Crashing(context, context.arm(at, Action.crash(self.scope)), at, self.scope)


class Crashing(Hitting):
    """A crash has struck when the process has reached the point *and* is dead.

    The end of its agent's connection is the evidence, and for a service, that it has ended.
    """

    def __init__(self, context: FaultContext, arm: Armed, at: Location, scope: Scope) -> None:
        super().__init__(context, arm, at, "crash")
        self.scope = scope

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit, and the death that follows: who goes on may start the service again."""
        if not super().wait(deadline_s):
            return False
        for hit in self.arm.hits:
            self._died(hit, self.context.deadline_s)
        return True

    def _died(self, hit: Hit, deadline_s: float) -> bool:
        """Whether who was to die has ended since; it may be there again."""
        if self._is_worker(hit):  # it is a hit because its connection has ended
            return True
        return self.context.wait_for(
            lambda: self.context.has_ended(hit.service, hit.at_ns), deadline_s
        )

    def finish(self, deadline_s: float) -> None:
        """Make sure that the process that reported the hit is gone."""
        for hit in self.arm.hits:
            if not self._died(hit, deadline_s):
                raise ChaosError(
                    f"{hit.service} reached `{self.at}` and was to die there, but lives "
                    f"{deadline_s:g} s later"
                )
            who = f"a worker of {hit.service}" if self._is_worker(hit) else hit.service
            self.context.tell(
                Kind.FAULT, hit.service, self.word, f"{who} died {self.at}", pid=hit.pid
            )

    def _is_worker(self, hit: Hit) -> bool:
        return self.scope == "process" and not hit.main
