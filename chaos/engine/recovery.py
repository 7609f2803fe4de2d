"""Recovery: services are brought back, and who does not come up is a finding."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from chaos.engine.stage import Stage
from chaos.errors import NotReady
from chaos.history import History, Kind
from chaos.invariant import SERVICES_RETURN, Violation
from chaos.target import Service, ServiceState


@dataclass(frozen=True, slots=True)
class Lost:
    """A service that was started and did not come up: in words, when, and in which step."""

    service: str
    why: str
    at_ns: int
    moment: str


class Recovery:
    """Brings back the services of one round, and judges who did not come up."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lost: list[Lost] = []
        """Who did not come up and was not judged yet."""

    @property
    def lost(self) -> bool:
        """Whether there is anybody to judge."""
        return bool(self._lost)

    def start(self, service: Service, moment: str, deadline_s: float | None = None) -> bool:
        """Let a service run, from wherever it is; whether it came up."""
        stage = self._stage
        began_ns = time.monotonic_ns()
        try:
            with stage.change(service):
                let_run(service, deadline_s)
        except NotReady as error:
            # Another actor, or the schedule, had it die on its way up: no failed recovery.
            if stage.killed_ns(service) < began_ns:
                self._lost.append(Lost(service.name, str(error), time.monotonic_ns(), moment))
                return False
        return True

    def judge(self, before_ns: float = inf) -> bool:
        """Who did not come up is a finding; after ``before_ns`` it was no fair attempt.

        False when there is a finding.
        """
        findings = [lost for lost in self._lost if lost.at_ns < before_ns]
        for lost in findings:
            self._stage.violate(Violation(SERVICES_RETURN, lost.moment, (lost.why,)))
        self._lost.clear()
        return not findings

    def is_needed(self, struck: Iterable[str]) -> bool:
        """Whether one of the services that were struck is not there now."""
        services = self._stage.services
        return any(
            services[name].state is not ServiceState.READY for name in struck if name in services
        )


def let_run(service: Service, deadline_s: float | None = None) -> None:
    """Let a service run, from wherever it is.

    Raises:
        NotReady: it was not ready after ``deadline_s`` seconds (default: its own limit).
    """
    if service.state is ServiceState.FROZEN:
        service.thaw()
    service.start(deadline_s)


def strikes_since(history: History, number: int) -> dict[str, int]:
    """Service → when the first fault since that event struck it."""
    struck: dict[str, int] = {}
    for event in history.since(number):
        hit = event.kind is Kind.HIT and event.data["action"] not in ("record", "pause")
        if hit or (event.kind is Kind.FAULT and event.data.get("dies", True)):
            at_ns = event.data.get("began_ns", event.at_ns)
            struck[event.lane] = min(at_ns, struck.get(event.lane, at_ns))
    return struck
