"""crash: the service that reaches the point dies there."""

from __future__ import annotations

from chaos.action import Action
from chaos.errors import ChaosError
from chaos.fault import Fault, FaultContext, Strike
from chaos.history import Kind
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

    def finish(self, deadline_s: float) -> None:
        """Wait until the process that reported the hit is gone."""
        for hit in self.arm.hits:
            if not self.context.services[hit.service].wait_dead(deadline_s):
                raise ChaosError(
                    f"{hit.service} reached `{self.at}` and was to die there, but lives "
                    f"{deadline_s:g} s later"
                )
            self.context.tell(
                Kind.FAULT, hit.service, self.word, f"{hit.service} died {self.at}", pid=hit.pid
            )
