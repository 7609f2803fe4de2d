"""A topology is data: which services a system has, how each starts, how it says it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Forked:
    """Start by forking from the warm parent, which has imported the code already: milliseconds.

    ``function`` is ``module:callable``, called without arguments in the child; it returns or
    raises to end the process.
    """

    function: str


@dataclass(frozen=True, slots=True)
class Command:
    """Start by executing a program (any language; the failpoint agent needs CPython ≥ 3.11)."""

    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service of a topology.

    ``environment`` values and a command's arguments may use ``{run_dir}``, ``{bugs}`` (the bug
    switches, comma-separated) and ``{port:NAME}`` (a free loopback port, the same for every mention
    of NAME in the topology). Ready is told in one of two ways: the service sends ``READY=1`` to
    ``$NOTIFY_SOCKET`` (the sd_notify protocol) or, with ``ready_port``, something listens on that
    named port. ``after`` names services that must be ready before this one starts.
    ``stateless`` services keep running over a reset; the others are started anew.
    """

    name: str
    start: Forked | Command
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_port: str = ""
    after: tuple[str, ...] = ()
    stateless: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole system: services in the order in which they start, and what the warm parent imports.

    ``preload`` are modules that the warm parent imports once, before it forks.
    """

    services: tuple[ServiceSpec, ...]
    preload: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
