"""Faults that act on a whole service from outside: kill, freeze, restart.

With an ``at``, whoever reaches the point is held there while the service is struck, and goes on
afterwards: the service dies while that very call is under way. Without one it is struck before
the workload starts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from threading import Event
from typing import ClassVar

from pydantic import Field

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError, Vacuous
from chaos.failpoints.controller import Arm
from chaos.fault import Fault, Strike, Variation
from chaos.history import Kind
from chaos.plan import Location
from chaos.safety.undo import Thaw
from chaos.target import Service, ServiceState
from faults.failpoint import Hitting


class OnService(Fault):
    """What the faults on a service have in common."""

    located: ClassVar[bool | None] = None
    word: ClassVar[str]

    service: str = Field(description="which service is struck (a shell pattern)")

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """The service must exist."""
        yield ("service",), "service", self.service

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Strike now, or when the point is reached."""
        if at is None:
            self.strike(stage)
            return Struck()
        arm = stage.arm(at, Action.pause(limit_s=stage.deadline_s * 2))
        striking = Striking(arm, at, stage.deadline_s)
        stage.react(self.word, lambda: self._when_reached(stage, arm, striking))
        return striking

    def _when_reached(self, stage: Stage, arm: Arm, striking: Striking) -> None:
        hit = arm.wait(None)  # disarmed when the round ends
        if hit is None:
            return
        try:
            self.strike(stage)
        finally:
            striking.struck()
            hit.release()

    def strike(self, stage: Stage) -> None:
        """Do it to every service that matches and is not dead.

        Raises:
            Vacuous: there is none.
        """
        alive = [s for s in stage.matching(self.service) if s.state is not ServiceState.DEAD]
        if not alive:
            raise Vacuous(f"{self.word} `{self.service}` struck nothing: it was dead already.")
        for service in alive:
            self.strike_one(stage, service)
            stage.tell(
                Kind.FAULT, service.name, self.word, f"{self.word} {service.name}", pid=service.pid
            )

    @abstractmethod
    def strike_one(self, stage: Stage, service: Service) -> None:
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

    def __init__(self, arm: Arm, at: Location, deadline_s: float) -> None:
        super().__init__(arm, at)
        self._deadline_s = deadline_s
        self._struck = Event()

    def struck(self) -> None:
        """The service has been struck."""
        self._struck.set()

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit; the strike that follows it takes as long as it takes."""
        return super().wait(deadline_s) and self._struck.wait(self._deadline_s)


class Kill(OnService):
    """A service dies by SIGKILL."""

    word: ClassVar[str] = "kill"

    def strike_one(self, stage: Stage, service: Service) -> None:
        """Kill it and see it dead."""
        service.kill()


class Freeze(OnService):
    """A service stops running without dying, until the plan recovers."""

    word: ClassVar[str] = "freeze"

    def strike_one(self, stage: Stage, service: Service) -> None:
        """Freeze it; the undo log can thaw it even after our own death."""
        if service.pid is None:
            raise ChaosError(f"{service.name} cannot be frozen: it is not running")
        stage.undo.push(Thaw.of(service.pid))
        service.freeze()


class Restart(OnService):
    """A service dies by SIGKILL and is started again at once."""

    word: ClassVar[str] = "restart"

    def strike_one(self, stage: Stage, service: Service) -> None:
        """Kill it and wait until it is ready again."""
        service.kill()
        service.start(stage.deadline_s)
