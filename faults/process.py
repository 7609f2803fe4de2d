"""Faults that act on a whole service from outside: kill, freeze, restart.

With an ``at``, whoever reaches the point is held there while the service is struck, and goes on
afterwards: the service dies while that very call is under way. Without one it is struck before
the workload starts.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from threading import Event
from typing import Annotated, ClassVar

from pydantic import Field

from chaos.action import Action
from chaos.errors import ChaosError, NotReady, Vacuous
from chaos.fault import Armed, Fault, FaultContext, Strike
from chaos.history import Kind
from chaos.plan import Location
from chaos.safety.undo import Thaw
from chaos.target import Service, ServiceState
from chaos.words import Word
from faults.hitting import Hitting


class OnService(Fault):
    """What the faults on a service have in common."""

    located: ClassVar[bool | None] = None
    word: ClassVar[str]

    service: Annotated[str, Word("service")] = Field(
        description="which service is struck (a shell pattern)"
    )

    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        """Strike now, or when the point is reached."""
        if at is None:
            self.strike(context)
            return Struck()
        arm = context.arm(at, Action.pause(limit_s=context.deadline_s * 2))
        striking = Striking(context, arm, at, self.word)
        context.react(self.word, lambda: self._when_reached(context, arm, striking))
        return striking

    def _when_reached(self, context: FaultContext, arm: Armed, striking: Striking) -> None:
        hit = arm.wait(None)  # disarmed when the round ends
        if hit is None:
            return
        try:
            self.strike(context)
        finally:
            striking.note()
            hit.release()

    def strike(self, context: FaultContext) -> None:
        """Do it to every service that matches and is not dead.

        Raises:
            Vacuous: there is none.
        """
        alive = [s for s in context.matching(self.service) if s.state is not ServiceState.DEAD]
        if not alive:
            raise Vacuous(f"{self.word} `{self.service}` struck nothing: it was dead already.")
        for service in alive:
            # First: whoever sees its effect finds in the history what it comes from.
            context.tell(
                Kind.FAULT, service.name, self.word, f"{self.word} {service.name}",
                pid=service.pid, began_ns=time.monotonic_ns(),
            )  # fmt: skip
            self.strike_one(context, service)

    @abstractmethod
    def strike_one(self, context: FaultContext, service: Service) -> None:
        """Do it to one service."""


class Struck(Strike):
    """A fault that has happened already."""

    def wait(self, deadline_s: float) -> bool:
        """It has."""
        return True

    def missing(self) -> str:
        """Nothing."""
        return ""


class Striking(Hitting):
    """A point was reached *and* the service was struck while the caller was held there."""

    def __init__(self, context: FaultContext, arm: Armed, at: Location, word: str) -> None:
        super().__init__(context, arm, at, word)
        self._struck = Event()

    def note(self) -> None:
        """The service has been struck."""
        self._struck.set()

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit; the strike that follows it takes as long as it takes."""
        return super().wait(deadline_s) and self._struck.wait()

    def finish(self, deadline_s: float) -> None:
        """Nothing more: the strike itself has told of it."""


class Kill(OnService):
    """A service dies by SIGKILL."""

    word: ClassVar[str] = "kill"

    def strike_one(self, context: FaultContext, service: Service) -> None:
        """Kill it and see it dead."""
        service.kill()


class Freeze(OnService):
    """A service stops running without dying, until the plan recovers."""

    word: ClassVar[str] = "freeze"

    def strike_one(self, context: FaultContext, service: Service) -> None:
        """Freeze it; the undo log can thaw it even after our own death."""
        if service.pid is None:
            raise ChaosError(f"{service.name} cannot be frozen: it is not running")
        context.push_undo(Thaw.of(service.pid))
        service.freeze()


class Restart(OnService):
    """A service dies by SIGKILL and is started again at once."""

    word: ClassVar[str] = "restart"

    def strike_one(self, context: FaultContext, service: Service) -> None:
        """Kill it and wait until it is ready again, as long as it may take.

        Whom another fault strikes on the way up is brought back by the recovery.
        """
        began_ns = time.monotonic_ns()
        service.kill()
        try:
            service.start()
        except NotReady:
            if not context.was_struck(service.name, began_ns):
                raise
