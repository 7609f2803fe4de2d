"""A topology is data: which services a system has, how each starts, how it says it is ready.

Its texts may hold placeholders (:mod:`targets.placeholders`): ``{run_dir}`` is the directory of the
run, ``{target_dir}`` that of the file that defines the target, ``{python}`` the Python that runs,
``{bugs}`` the bug switches that are on, separated by commas, and ``{port:NAME}`` a loopback port:
the one that the topology fixes for NAME, or else a free one, the same at every mention.
``{link:SOURCE>NAME}`` is ``host:port`` for SOURCE to reach that port, on a link of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from chaos.errors import TargetError, nearest
from chaos.target import Service
from targets import placeholders

# ---------------------------------------------------------------------- how a service starts


@dataclass(frozen=True, slots=True)
class Forked:
    """Start by forking from the warm parent, which has imported the code already: milliseconds.

    ``function`` is ``module:callable``, called without arguments in the child; it returns or
    raises to end the process.
    """

    function: str


@dataclass(frozen=True, slots=True)
class Command:
    """Start by executing a program (any language; the failpoint agent needs CPython ≥ 3.11).

    ``arguments`` are words, or a line of them as one would type it, which no shell sees.
    ``bug_arguments`` are further arguments by bug switch: those of the switches that are on follow
    the others, in the order in which they stand here.
    """

    arguments: tuple[str, ...] | str
    bug_arguments: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)

    def words(self, bugs: Collection[str]) -> Iterator[str]:
        """All arguments with these bug switches on."""
        yield from _words(self.arguments)
        for bug, more in self.bug_arguments.items():
            if bug in bugs:
                yield from _words(more)


@dataclass(frozen=True, slots=True)
class Imaged:
    """Start as a container of an image that somebody else has made, in a run in containers.

    ``image`` is a name of ours (:mod:`targets.containers.images`); what it holds in the directory
    ``data`` outlives its death.
    """

    image: str
    data: str
    arguments: tuple[str, ...] = ()


def _words(line: tuple[str, ...] | str) -> Iterable[str]:
    return shlex.split(line) if isinstance(line, str) else line


# ---------------------------------------------------------------------- how it says it is ready


@dataclass(frozen=True, slots=True)
class Notified:
    """It sends ``READY=1`` to ``$NOTIFY_SOCKET``, as under systemd (sd_notify(3))."""

    def __str__(self) -> str:
        return "READY=1 on $NOTIFY_SOCKET"


@dataclass(frozen=True, slots=True)
class Listening:
    """It accepts connections on ``{port:NAME}``, where ``port`` is NAME."""

    port: str

    def __str__(self) -> str:
        return f"a listener on port `{self.port}`"


@dataclass(frozen=True, slots=True)
class HttpOk:
    """``GET path`` on ``{port:NAME}``, where ``port`` is NAME, is answered with a 2xx."""

    port: str
    path: str = "/"

    def __str__(self) -> str:
        return f"a 2xx to GET {self.path} on port `{self.port}`"


@dataclass(frozen=True, slots=True)
class LogLine:
    """``pattern``, a regular expression, is found in a whole line of its log.

    What earlier processes of the same service logged does not count.

    Raises:
        TargetError: ``pattern`` is no regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise TargetError(f"{self.pattern!r} is no regular expression: {error}") from None

    def __str__(self) -> str:
        return f"a line of its log with {self.pattern!r}"


@dataclass(frozen=True, slots=True)
class Asked:
    """``function(target, service)`` says so; it is asked again and again.

    A method that is defined in the target's class, above its topology, will do: so the answer can
    depend on all that the target sees. When it raises, the service is not ready yet.
    """

    function: Callable[[Any, Service], bool]

    def __str__(self) -> str:
        return f"a yes of {getattr(self.function, '__qualname__', self.function)}"


@dataclass(frozen=True, slots=True)
class Finished:
    """It has ended with exit code 0: it is a *job*, which prepares something, and no service.

    Jobs run at the boot and, unless they are stateless, again at every reset to the pristine world.
    They are none of the target's services, and no fault strikes them.
    """

    def __str__(self) -> str:
        return "its end with exit code 0"


Readiness = Notified | Listening | HttpOk | LogLine | Asked | Finished

# ---------------------------------------------------------------------- the whole


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service of a topology, or one job (:class:`Finished`).

    ``environment`` values, a command's arguments and ``cwd`` may hold placeholders. ``after`` names
    what must be ready before this one starts. ``stateless`` services keep running over a reset; the
    others are started anew.
    """

    name: str
    start: Forked | Command | Imaged
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Readiness = Notified()
    after: tuple[str, ...] = ()
    stateless: bool = False
    foreign: bool = False
    """It is somebody else's program: no bug switch reaches it, and it runs on when they change."""
    cwd: str = placeholders.RUN_DIR
    """Its working directory; where there is none it is made, and belongs to ``user``."""
    user: str = ""
    """Whom it runs as; only root can choose. It gets that user's groups and ``$HOME``."""
    leaves: tuple[str, ...] = ()
    """Names of daemons that it may leave behind, as in ``/proc/PID/comm`` (RabbitMQ: ``epmd``).

    They outlive its death, and are ended when the target stops.
    """
    start_s: float | None = None
    """Seconds until it is ready; None: as the target's limits say."""
    stop_s: float | None = None
    """Seconds until it is gone once it was killed; None: as the target's limits say."""

    @property
    def is_job(self) -> bool:
        """Whether it is a job, and no service."""
        return isinstance(self.ready, Finished)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole system: its services and jobs, and what the warm parent imports.

    ``preload`` are modules that the warm parent imports once, before it forks. ``environment`` is
    what every service gets beside its own; ``ports`` fixes the numbers of some ports. Of the
    environment that this is run in, services inherit nothing whose name starts with one of
    ``withheld``.
    """

    services: tuple[ServiceSpec, ...]
    preload: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()

    @property
    def port_names(self) -> tuple[str, ...]:
        """The name of each port that is fixed, waited for or mentioned."""
        waited_for = (
            spec.ready.port for spec in self.services if isinstance(spec.ready, Listening | HttpOk)
        )
        mentioned = (name for text in self._texts() for name in placeholders.ports(text))
        led_to = (name for _, name in self.links)
        return tuple(dict.fromkeys((*self.ports, *waited_for, *mentioned, *led_to)))

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """The source and the port's name of each link that is mentioned."""
        mentioned = (link for text in self._texts() for link in placeholders.links(text))
        return tuple(dict.fromkeys(mentioned))

    def in_order(self, bugs: Collection[str]) -> tuple[ServiceSpec, ...]:
        """The services such that each comes after those that it waits for.

        Raises:
            TargetError: a placeholder, a bug switch (``bugs`` are the target's) or a name in
                ``after`` does not exist, two services share a name, or some wait in a circle.
        """
        known = (*placeholders.PLAIN, *map(placeholders.port, self.port_names))
        links = (placeholders.link(*link) for link in self.links)
        values = dict.fromkeys((*known, *links), "")
        for text in self._texts():
            placeholders.fill(text, values)
        specs = {spec.name: spec for spec in self.services}
        if len(specs) < len(self.services):
            raise TargetError("two services of the topology have the same name")
        for spec in self.services:
            for name in set(spec.after) - specs.keys():
                raise TargetError(
                    f"service {spec.name} starts after `{name}`, which is none:"
                    f" {nearest(name, specs)}"
                )
            named = spec.start.bug_arguments if isinstance(spec.start, Command) else {}
            for bug in named.keys() - set(bugs):
                raise TargetError(
                    f"service {spec.name} has arguments for `{bug}`, which is no bug switch:"
                    f" {nearest(bug, bugs)}"
                )
        try:
            graph = TopologicalSorter({name: spec.after for name, spec in specs.items()})
            return tuple(specs[name] for name in graph.static_order())
        except CycleError as error:
            circle = " → ".join(error.args[1])
            raise TargetError(f"services wait for each other: {circle}") from None

    def _texts(self) -> Iterator[str]:
        """Every text that may hold placeholders."""
        yield from self.environment.values()
        for spec in self.services:
            yield from spec.environment.values()
            yield spec.cwd
            if isinstance(spec.start, Command):
                yield from spec.start.words(spec.start.bug_arguments)
