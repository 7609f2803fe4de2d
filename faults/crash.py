"""crash: the service that reaches the point dies there."""

from __future__ import annotations

from chaos.action import Action
from chaos.errors import ChaosError
from chaos.fault import Fault, FaultContext, Strike
from chaos.history import Kind
from chaos.hit import Hit
from chaos.plan import Location
from faults.hitting import Hitting


class Crash(Fault):
    """The service that reaches the point dies there by SIGKILL."""

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Arm the crash."""
        assert at is not None
        return Crashing(context, context.arm(at, Action.crash()), at, "crash")


class Crashing(Hitting):
    """A crash has struck when the process has reached the point *and* is dead."""

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit, and the death that follows: who goes on may start the service again."""
        if not super().wait(deadline_s):
            return False
        for hit in self.arm.hits:
            self._died(hit, self.context.deadline_s)
        return True

    def _died(self, hit: Hit, deadline_s: float) -> bool:
        """Whether the service has ended since; it may be there again."""
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
            self.context.tell(
                Kind.FAULT, hit.service, self.word, f"{hit.service} died {self.at}", pid=hit.pid
            )
