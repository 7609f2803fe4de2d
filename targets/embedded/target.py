"""The reference control plane as processes of this machine: nothing to install, up in a second.

Every service is a process of its own with SQLite files in the run directory; requests go through
HTTP and a broker. ``clouds.yaml`` in the run directory lets any OpenStack client in::

    OS_CLIENT_CONFIG_FILE=RUN_DIR/clouds.yaml openstack --os-cloud reference server list
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chaos.errors import NotSettled, TargetError
from chaos.operation import Scope
from chaos.target import Limits, ServiceState
from targets.cloud import administration, images, moves, provider, servers, volumes
from targets.cloud.catalogue import OPERATIONS
from targets.cloud.clean_up import clean_up
from targets.cloud.client import Balancer, connect
from targets.cloud.world import CloudWorld
from targets.embedded import clouds
from targets.embedded.accesses import ACCESSES
from targets.embedded.layout import CLIENT, Layout
from targets.embedded.observer import Observer
from targets.embedded.operator import EmbeddedOperator
from targets.embedded.points import POINTS
from targets.embedded.pristine import Moment, Pristine
from targets.embedded.quiet import Answer, Quiet
from targets.processes import ProcessTarget
from targets.reference import bugs
from targets.reference.bus import Bus, BusUnreachable
from targets.reference.config import BUS_JOURNAL, bus_token

if TYPE_CHECKING:
    from openstack.connection import Connection

VOCABULARY = (administration, images, moves, provider, servers, volumes)
"""The modules that add to the catalogue of operations: it is enough to import them."""
PATIENCE_S = 0.2
"""How long who must be asked may take to answer."""


class Memory(Protocol):
    """Keeps moments of all databases."""

    def keep(self) -> Any:
        """Keep what they hold now, for as long as somebody has what is returned."""

    def restore(self, moment: Any = None) -> None:
        """Bring back what was kept; by default, what they held first."""

    def close(self) -> None:
        """Keep nothing any more."""


class Eye(Protocol):
    """Looks into all databases."""

    def world(self) -> CloudWorld:
        """The world at one moment."""

    def close(self) -> None:
        """Look no more."""


@dataclass(frozen=True, slots=True)
class Links:
    """What is open while the target runs."""

    bus: Bus
    quiet: Quiet
    pristine: Memory
    observer: Eye

    def close(self) -> None:
        """Close all of it."""
        self.bus.close()
        self.quiet.close()
        self.pristine.close()
        self.observer.close()


class Embedded(ProcessTarget):
    """The reference control plane on this machine."""

    name = "reference"
    layout = Layout()
    """Which processes there are; a subclass may have another one, and the topology of that."""
    topology = layout.topology()
    points = POINTS
    operations = OPERATIONS
    limits = Limits(
        start_s=30.0, stop_s=10.0, settle_s=10.0, client_s=10.0, poll_s=0.01, blocked_s=0.1
    )
    request_id_reader = "targets.reference.context:current_request_id"
    accesses = ACCESSES
    moment: type = Moment
    """What :meth:`keep` returns."""

    def __init__(self) -> None:
        # Nobody else on this machine shall guess them.
        self._password, self._secret = secrets.token_urlsafe(24), secrets.token_hex(32)
        own = {"REFERENCE_PASSWORD": self._password, "REFERENCE_TOKEN_SECRET": self._secret}
        if outside := os.environ.get(bugs.BUGS_PATH):
            # Services run in other folders.
            folders = map(os.path.abspath, outside.split(os.pathsep))
            own[bugs.BUGS_PATH] = os.pathsep.join(folders)
        self.bugs = _switches()
        topology = self.topology
        self.topology = replace(topology, environment={**topology.environment, **own})
        super().__init__()
        self._links: Links | None = None
        self._connection: Connection | None = None
        self._seen: dict[str, int] = {}
        self._turns = count()

    # ------------------------------------------------------------------ life

    def capture(self, run_dir: Path) -> None:
        """Keep a copy of all databases, and write ``clouds.yaml``."""
        auth_url = f"http://{self.address(CLIENT, 'identity')}/v3"
        clouds.write(self.clouds_yaml, auth_url, self._password)
        self._links = self._link(run_dir)

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Restore all databases in place; restart only what is dead, frozen or still busy."""
        self._end_what_is_busy()
        super().reset(bugs, kept)
        self._turns = count()

    def keep(self) -> Any:
        """Copy all databases: at rest, no service and no queue knows anything beside them."""
        return self._open.pristine.keep()

    def restore(self, run_dir: Path, kept: object = None) -> None:
        """Bring the databases back, and throw away every message.

        Raises:
            TargetError: ``kept`` is nothing that :meth:`keep` returned.
        """
        if not isinstance(kept, self.moment | None):
            raise TargetError(f"target {self.name} kept no {kept!r}")
        self._purge()
        self._open.pristine.restore(kept)

    def stop(self) -> None:
        """End every service, and close every file and connection."""
        super().stop()
        if self._connection:
            self._connection.close()
        if self._links:
            self._links.close()
        self._connection = self._links = None

    # ------------------------------------------------------------------ the contract

    @property
    def clouds_yaml(self) -> Path:
        """The file by which OpenStack's clients find this cloud."""
        return self.run_dir / "clouds.yaml"

    def client(self) -> Connection:
        """Return the connection that all actors share."""
        if self._connection is None:
            self._connection = connect(
                self.clouds_yaml, clouds.CLOUD, self._operator, self._balancer(),
                f"{clouds.CLOUD}-admin",
            )  # fmt: skip
        return self._connection

    def observe(self) -> CloudWorld:
        """Read all databases, without asking any service."""
        return self._open.observer.world()

    def settle(self, deadline_s: float) -> None:
        """Return when no request is being served and no message is queued or in flight.

        Each service and the broker are found at rest twice, without having done anything in
        between: so there was a moment when all of them were at rest together.
        """
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                done = self._rest(deadline)
            except NotSettled:
                if time.monotonic() >= deadline:
                    raise
                # A service that has just died refuses us a moment before its death is known.
                with self._nursery.changed:
                    self._nursery.changed.wait(PATIENCE_S)
            else:
                if done == self._seen:
                    return
                self._seen = done

    def invitation(self) -> str:
        """Name ``clouds.yaml`` and the clouds in it."""
        return clouds.invitation(self.clouds_yaml)

    def under_way(self, requests: Collection[str]) -> tuple[str, ...]:
        """Ask the broker, which knows every message; while it does not run nothing goes on."""
        if self.services["bus"].state is not ServiceState.READY:
            return ()
        try:
            found = self._open.bus.under_way(requests, (), PATIENCE_S)
            if found:  # seldom; and to see who is frozen takes longer than to ask the broker
                stopped = [
                    queue
                    for name, queue in self.layout.consumers.items()
                    if self.services[name].state is ServiceState.FROZEN
                ]
                if stopped:
                    found = self._open.bus.under_way(requests, stopped, PATIENCE_S)
            return tuple(found)
        except BusUnreachable as error:
            return (f"bus: {error}",) if self._has_bus else ()

    def clean_up(self, scope: Scope) -> None:
        """Delete all servers and volumes, as their user."""
        clean_up(scope, self.settle)

    def new_request_id(self) -> str:
        """An id in the form that OpenStack's services accept from outside.

        Its last digit says whose turn it is to serve it where there are several APIs: so the same
        steps go to the same processes in each round.
        """
        return f"req-{str(uuid.uuid4())[:-1]}{next(self._turns) % 16:x}"

    @property
    def bus(self) -> Bus:
        """A connection to the broker, to look at it."""
        return self._open.bus

    # ------------------------------------------------------------------ steps

    def _link(self, run_dir: Path) -> Links:
        """Open what there is to be open while the target runs."""
        return Links(
            Bus(self.listener("bus"), bus_token(self._secret)),
            Quiet(run_dir),
            Pristine(run_dir),
            Observer(run_dir, self.layout.cells, tuple(self.layout.hosts)),
        )

    @property
    def _open(self) -> Links:
        if self._links is None:
            raise TargetError(f"target {self.name} is not started")
        return self._links

    @property
    def _operator(self) -> EmbeddedOperator:
        where = {host: self.listener(f"hypervisor-{host}") for host in self.layout.hosts}
        return EmbeddedOperator(
            lambda: self._open.bus, where, lambda: str(self.client().session.get_token())
        )

    @property
    def _has_bus(self) -> bool:
        return self.services["bus"].state is not ServiceState.DEAD

    def _balancer(self) -> Balancer | None:
        """What a load balancer before several APIs does: each in turn, if it is alive."""
        names = self.layout.api_services
        if len(names) == 1:
            return None
        urls = {name: f"http://{self.address(CLIENT, name)}" for name in names}

        def choose(request: str) -> str:
            turn = int(request[-1], 36) if request[-1:].isalnum() else 0
            in_turn = [names[(turn + more) % len(names)] for more in range(len(names))]
            alive = [n for n in in_turn if self.services[n].state is not ServiceState.DEAD]
            return urls[(alive or in_turn)[0]]

        return Balancer(urls[names[0]], choose)

    def _rest(self, deadline: float) -> dict[str, int]:
        """Wait until each service, and the broker, is at rest; say how much each has done."""
        answers = self._ask_quiet(deadline - time.monotonic())
        pending = [f"{name}: {what}" for name, answer in answers.items() for what in answer.active]
        done = {f"{name} {self.services[name].pid}": a.served for name, a in answers.items()}
        if self._has_bus:
            try:
                # A broker that has just come back knows only what its clients have told it.
                expected = [
                    queue
                    for name, queue in self.layout.consumers.items()
                    if self.services[name].state is ServiceState.READY
                ]
                pending += self._open.bus.drain(max(deadline - time.monotonic(), 0.0), expected)
                done[f"bus {self.services['bus'].pid}"] = self._open.bus.stats()["delivered"]
            except BusUnreachable as error:
                pending.append(f"bus: {error}")
        if pending:
            raise NotSettled("still at work: " + "; ".join(pending))
        return done

    def _ask_quiet(self, deadline_s: float) -> dict[str, Answer]:
        alive = [
            n for n in self.layout.http_services if self.services[n].state is not ServiceState.DEAD
        ]
        return self._open.quiet.ask(alive, deadline_s)

    def _end_what_is_busy(self) -> None:
        """Kill services with a request that never ended: it would write into the next world."""
        for name, answer in self._ask_quiet(PATIENCE_S).items():
            if answer.active:
                self.services[name].kill()
        self._purge()
        try:
            busy = self._open.bus.drain(PATIENCE_S) if self._has_bus else []
        except BusUnreachable:
            busy = ["bus"]
        if busy:
            self._forget_messages()

    def _forget_messages(self) -> None:
        """End what somebody works on, with all who could."""
        for name in ("bus", *self.layout.consumers):
            self.services[name].kill()

    def _purge(self) -> None:
        if self.services["bus"].state is ServiceState.READY:
            self._open.bus.purge()
        else:
            (self.run_dir / BUS_JOURNAL).unlink(missing_ok=True)


def _switches() -> dict[str, str]:
    try:
        return bugs.available()
    except LookupError as error:
        raise TargetError(str(error)) from None


def target() -> Embedded:
    """Make the target; entry point ``chaos.targets:reference``."""
    return Embedded()


class Scaled(Embedded):
    """The same with two APIs and two conductors."""

    layout = Layout(apis=2, conductors=2)
    topology = layout.topology()


class Wide(Embedded):
    """The same with two APIs, two conductors, and a second cell with a host of its own."""

    layout = Layout(
        apis=2, conductors=2, hosts={"host1": "cell1", "host2": "cell1", "host3": "cell2"}
    )
    topology = layout.topology()


class Cells(Embedded):
    """The same with one API and one conductor, and two cells: host2 is alone in the second."""

    capabilities = frozenset({"cells"})
    layout = Layout(hosts={"host1": "cell1", "host2": "cell2", "host3": "cell1"})
    topology = layout.topology()


def scaled() -> Scaled:
    """Make the target; :mod:`suites.scaled` has it with its words."""
    return Scaled()


def wide() -> Wide:
    """Make the target; :mod:`suites.scaled` has it with its words."""
    return Wide()


def cells() -> Cells:
    """Make the target; :mod:`suites.cells` has it with its words."""
    return Cells()
