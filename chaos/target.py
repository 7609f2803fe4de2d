"""The contract between the framework and a system under test.

A *target* is one running instance of the system: its services (processes or containers), the
points where faults may strike, the operations a client can perform and the *world* an observer
sees. Nothing here knows what the system does.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from chaos.invariant import Invariant
from chaos.link import Link
from chaos.operation import Operations, Scope
from chaos.point import AccessPoint, Point
from chaos.safety.program import Launch, launch
from chaos.world import World


class ServiceState(StrEnum):
    """Life of a service as its runner sees it."""

    STARTING = "starting"
    READY = "ready"
    FROZEN = "frozen"
    DEAD = "dead"


class Service(Protocol):
    """One process or container that can be killed and brought back by itself."""

    @property
    def name(self) -> str:
        """Unique in the target, e.g. ``compute-host1``."""

    @property
    def state(self) -> ServiceState:
        """Its state now."""

    @property
    def pid(self) -> int | None:
        """Process id on this machine, None while dead."""

    @property
    def log(self) -> Path:
        """File that collects its standard output and error over all restarts."""

    def start(self, deadline_s: float | None = None) -> None:
        """Start it and return when it is ready; does nothing when it is ready already.

        Raises:
            NotReady: it was not ready after ``deadline_s`` seconds (default: its own limit); says
                how its log ends.
        """

    def kill(self) -> None:
        """End it by SIGKILL and return when it is gone."""

    def freeze(self) -> None:
        """Stop it from running (SIGSTOP, container pause) until :meth:`thaw`."""

    def thaw(self) -> None:
        """Let it run on."""

    def wait_dead(self, deadline_s: float) -> bool:
        """Wait until it has ended by itself; False when it still lives after ``deadline_s``."""


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """What a runner must put into a service so that faults can strike there.

    ``environment(service)`` are the variables that let the agent in that process find and trust
    the controller; ``label`` marks everything that belongs to this run (``CHAOS_RUN=label``).
    What is executed by ``launch`` is found and ended with the run even if it sheds the label.
    """

    label: str
    run_dir: Path
    environment: Callable[[str], Mapping[str, str]]
    on_service: Callable[[str, str, Mapping[str, Any]], None]
    """Called as (service, event, facts); event: started, ready, exited, killed, frozen, thawed."""
    launch: Launch = launch


CAPABILITIES = frozenset({"links", "limits", "clock"})
"""What a target may be able to do beyond this contract: network faults on the links between its
services, limits of their resources, another time of day. A target may have others of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things take in a target, in seconds. A service may have its own ``start_s``."""

    start_s: float = 10.0
    """Until a service that was started is ready."""
    stop_s: float = 10.0
    """Until a service that was killed is gone."""
    settle_s: float = 10.0
    """Until everything is at rest, where a plan does not say."""
    client_s: float = 10.0
    """Until a client gives up waiting: for an answer, and for what it waits to come about."""
    poll_s: float = 0.005
    """Between two looks of whoever can only look."""
    blocked_s: float = 0.1
    """How long nothing at all must move before an actor counts as waiting for another one."""


class Target(ABC):
    """A system under test that can be started, reset, observed and struck.

    Everything up to :attr:`services` is declared; only what is abstract must be.
    """

    name: str
    points: Mapping[str, Point]
    """Alias used in plans → where it lies in this target."""
    operations: Operations
    bugs: Mapping[str, str] = {}
    """Bug switch → one line that tells which defect it re-creates."""
    defects: frozenset[str] = frozenset()
    """The defects, by the names of their bug switches, that this target really has today: a plan
    whose ``bugs`` name one is expected to FAIL here with all switches off."""
    invariants: Mapping[str, Invariant] = {}
    """What must hold, by name; beside those that its file, or an installed library, defines."""
    capabilities: frozenset[str] = frozenset()
    """What it can do beyond this contract (:data:`CAPABILITIES`, …), for plans that need it."""
    limits: Limits = Limits()
    request_id_reader: str = ""
    """``module:function`` inside the services that returns the current request's id, or None."""
    controller_host: str = "127.0.0.1"
    """The address of this machine that its services reach the controller by."""
    accesses: tuple[AccessPoint, ...] = ()
    """The functions through which its services touch what they share; none: it does not tell."""

    @property
    @abstractmethod
    def services(self) -> Mapping[str, Service]:
        """All services by name, running or not."""

    @property
    def links(self) -> Mapping[str, Link]:
        """The links that can be disturbed, by name, of a target with the capability ``links``."""
        return {}

    @abstractmethod
    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Boot everything with these bug switches on; return when every service is ready."""

    @abstractmethod
    def stop(self) -> None:
        """End every service and release what the target holds; safe to call twice."""

    @abstractmethod
    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Back to the pristine world, all services ready, without a cold boot.

        With ``kept``, what :meth:`keep` returned: back to the world of that moment.
        """

    @abstractmethod
    def client(self) -> Any:
        """What operations use to talk to the target; one per scope."""

    @abstractmethod
    def observe(self) -> World:
        """The world at one moment.

        Raises:
            WorldMoved: it changed all the time while it was looked at.
        """

    @abstractmethod
    def settle(self, deadline_s: float) -> None:
        """Return as soon as nothing is queued or in flight, timers and retries included.

        Raises:
            NotSettled: something still was after ``deadline_s`` seconds; says what.
        """

    @abstractmethod
    def clean_up(self, scope: Scope) -> None:
        """Delete, as a user would, everything that the plan's user made; used by *recoverable*.

        Nothing else: what the system made and did not take away is a leak, and is to be found.
        ``scope.made`` has what the plan's steps made.
        """

    def under_way(self, requests: Collection[str]) -> tuple[str, ...]:
        """What still goes on for these requests by itself, though no client waits for it.

        One sentence for each message in flight, timer or retry that moves without anybody's doing;
        what waits for somebody (in the queue of a dead service) or is part of another (the call
        that a handler makes) does not count. Default: nothing ever does.
        """
        return ()

    def invitation(self) -> str:
        """How a person, or a tool, gets in while it runs: what ``chaos up`` tells. Default: ''."""
        return ""

    def keep(self) -> object:
        """The world as it is now, at rest, for :meth:`reset`; None: it cannot be kept.

        Good as long as the target runs, under the same bug switches; several are kept at a time.
        """
        return None

    def new_request_id(self) -> str:
        """A request id in the form that the services accept from outside."""
        return uuid.uuid4().hex
