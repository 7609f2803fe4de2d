"""Faults that act inside the service, at the point itself: crash, delay, error, pause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event

from pydantic import Field

from chaos.action import Action
from chaos.engine.stage import Stage
from chaos.errors import ChaosError
from chaos.failpoints.controller import Arm
from chaos.fault import Fault, Strike, Variation
from chaos.history import Kind
from chaos.plan import Location


class Hitting(Strike):
    """A strike whose evidence is a hit that the agent reported."""

    def __init__(self, arm: Arm, at: Location) -> None:
        self.arm = arm
        self.at = at

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit."""
        return self.arm.wait(deadline_s) is not None

    def missing(self) -> str:
        """Which point was not reached, and where it was looked for."""
        if self.arm.hits:
            return ""
        wanted = f"`{self.at}`"
        if self.at.actor:
            wanted += f" while serving `{self.at.actor}`"
        if self.at.occurrence > 1:
            wanted += f" (occurrence {self.at.occurrence})"
        return f"The point {wanted} was never reached ({_whereabouts(self.arm.state)})."


def _whereabouts(states: Mapping[str, str]) -> str:
    """Where a point was looked for, from what each service answered."""
    armed = [name for name, state in sorted(states.items()) if state == "armed"]
    pending = [name for name, state in sorted(states.items()) if state == "pending"]
    wrong = [f"{name}: {states[name]}" for name in sorted(states.keys() - {*armed, *pending})]
    if armed:
        told = f"it was armed in {', '.join(armed)}"
    elif pending:
        told = (
            f"its module was not imported in {', '.join(pending)}; the module that "
            "`python -m` runs is called `__main__`"
        )
    else:
        told = "it was armed in no service"
    return "; ".join([told, *wrong])


class Crash(Fault):
    """The service that reaches the point dies there by SIGKILL."""

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Arm the crash."""
        assert at is not None
        return Crashing(stage, stage.arm(at, Action.crash()), at)


class Crashing(Hitting):
    """A crash has struck when the process has reached the point *and* is dead."""

    def __init__(self, stage: Stage, arm: Arm, at: Location) -> None:
        super().__init__(arm, at)
        self.stage = stage

    def finish(self, deadline_s: float) -> None:
        """Wait until the process that reported the hit is gone."""
        for hit in self.arm.hits:
            service = self.stage.services[hit.service]
            if not service.wait_dead(deadline_s):
                raise ChaosError(
                    f"{hit.service} reached `{self.at}` and was to die there, but lives "
                    f"{deadline_s} s later"
                )
            self.stage.tell(
                Kind.FAULT, hit.service, "crash", f"{hit.service} died {self.at}", pid=hit.pid
            )


class Delay(Fault):
    """The call takes longer."""

    seconds: float = Field(gt=0, le=60, description="how much longer, in seconds")
    times: int = Field(1, ge=1, description="how many calls, from the location's occurrence on")

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Arm the delay."""
        assert at is not None
        return Told(stage, stage.arm(at, Action.delay(self.seconds), times=self.times), at, "delay")


class Error(Fault):
    """The call raises instead of (before) or after doing its work."""

    exception: str = Field(
        "RuntimeError", description="a builtin's name, or module:Class as the service imports it"
    )
    message: str = "injected by a fault plan"
    times: int = Field(1, ge=1, description="how many calls, from the location's occurrence on")

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Arm the error."""
        assert at is not None
        action: Action = Action.error(self.exception, self.message)
        return Told(stage, stage.arm(at, action, times=self.times), at, "error")


class Told(Hitting):
    """A strike that needs nothing more than its hit; it goes into the history by itself."""

    def __init__(self, stage: Stage, arm: Arm, at: Location, word: str) -> None:
        super().__init__(arm, at)
        self.stage = stage
        self.word = word

    def finish(self, deadline_s: float) -> None:
        """Put each hit into the history."""
        for hit in self.arm.hits:
            self.stage.tell(
                Kind.FAULT, hit.service, self.word, f"{self.word} {self.at}", pid=hit.pid
            )


class Pause(Fault):
    """The caller is held at the point until a step of `during` has ended."""

    until: str = Field(
        "during", description="label or operation of the step after which it goes on"
    )

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """The step that is waited for must exist."""
        if self.until != "during":
            yield ("until",), "step", self.until

    def prepare(self, stage: Stage, at: Location | None, variation: Variation) -> Strike:
        """Arm the pause, and release it when the step has ended."""
        assert at is not None
        arm = stage.arm(at, Action.pause(limit_s=stage.deadline_s * 2))
        pausing = Pausing(arm, at, stage, self.until)
        stage.react("pause", pausing.hold)
        return pausing


class Pausing(Hitting):
    """A pause has struck when somebody was held before the step ended that it waits for."""

    def __init__(self, arm: Arm, at: Location, stage: Stage, until: str) -> None:
        super().__init__(arm, at)
        self.stage = stage
        self.until = until
        self._decided = Event()
        self._held = False

    def hold(self) -> None:
        """Let whoever is held go on when the step has ended.

        Raises:
            ChaosError: it has not ended while it had the time to.
        """
        stage, until = self.stage, self.until
        stage.wait_for(lambda: bool(stage.hits_of(self.arm)) or until in stage.ended, None)
        hits = stage.hits_of(self.arm)
        # Not reached before the step ended: the pause would hold nothing apart any more.
        if not hits or stage.ended.get(until, hits[0].at_ns) < hits[0].at_ns:
            self.arm.disarm()
            self._decided.set()
            return
        hit = hits[0]
        stage.tell(
            Kind.FAULT, hit.service, "pause", f"{hit.service} is held {self.at}", pid=hit.pid
        )
        self._held = True
        self._decided.set()
        # Less than a client's patience, so that a step which waits for the held one cannot end by
        # giving up just before we say that it never would.
        patience_s = stage.deadline_s / 2
        ended = stage.wait_ended(until, patience_s)
        hit.release()
        stage.tell(Kind.UNDO, hit.service, "pause", f"{hit.service} goes on {self.at}")
        if not ended:
            raise ChaosError(
                f"{hit.service} was held {self.at} for {patience_s} s, but `{until}` has not "
                "ended: does that step wait for the one that is held?"
            )

    def wait(self, deadline_s: float) -> bool:
        """Wait for the hit, and whether it came before the step had ended."""
        came = super().wait(deadline_s)
        return came and self._decided.wait(self.stage.deadline_s) and self._held

    def missing(self) -> str:
        """That the point was not reached, or too late."""
        if self.arm.hits and not self._held:
            return f"The point `{self.at}` was reached only when `{self.until}` had ended."
        return super().missing()
