"""Runs a topology as processes of this machine. Linux only.

Every service is a child of one *warm parent* (:mod:`targets.processes.warm_parent`): an executed
Python that has imported the system's code once, and forks a service in milliseconds or executes a
program.
"""

from __future__ import annotations

import os
import re
import socket
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from chaos.errors import TargetError, nearest
from chaos.safety import procfs
from chaos.target import Instrumentation, ServiceState, Target
from targets.processes.nursery import Nursery
from targets.processes.service import LocalService
from targets.topology import Forked, ServiceSpec, Topology

_PLACEHOLDER = re.compile(r"\{(run_dir|bugs|port:([\w.-]+))\}")
_BOOT_LIMIT_S = 30.0


class ProcessTarget(Target):
    """A target whose services are processes of this machine.

    A subclass gives ``name``, ``topology``, ``points``, ``operations`` and ``bugs`` and implements
    ``client``, ``observe``, ``settle``, ``clean_up`` and :meth:`restore`. Services run in the run
    directory, log to ``logs/<service>.log`` there, and bind their ports with ``SO_REUSEADDR``: the
    runner holds each port, not listening, so that a dead service refuses and nobody takes its port.
    """

    topology: Topology

    def __init__(self) -> None:
        self._order = _order(self.topology)
        self._instrumentation: Instrumentation | None = None
        self._bugs: frozenset[str] = frozenset()
        self._reserved: dict[str, socket.socket] = {}
        self._nursery = Nursery(self._tell)
        self._services = {
            spec.name: LocalService(
                spec.name,
                self._nursery,
                partial(self._program, spec),
                partial(self.port, spec.ready_port) if spec.ready_port else None,
            )
            for spec in self._order
        }

    # ------------------------------------------------------------------ for subclasses

    @abstractmethod
    def restore(self, run_dir: Path, kept: object = None) -> None:
        """Bring the stateful services' data back to the pristine world; they are down meanwhile.

        With ``kept``, what :meth:`keep` returned: back to the world of that moment.
        """

    def capture(self, run_dir: Path) -> None:
        """Keep what :meth:`restore` needs; called once, when everything is ready the first time."""

    @property
    def run_dir(self) -> Path:
        """Directory of this run."""
        return self._running.run_dir.absolute()

    def port(self, name: str) -> int:
        """The loopback port that ``{port:NAME}`` stands for, from start to stop.

        Raises:
            TargetError: the topology mentions no such port, or the target is not started.
        """
        try:
            reserved: int = self._reserved[name].getsockname()[1]
        except KeyError:
            raise TargetError(
                f"target {self.name} has no port `{name}`: {nearest(name, self._reserved)}"
            ) from None
        return reserved

    # ------------------------------------------------------------------ the contract

    @property
    def services(self) -> Mapping[str, LocalService]:
        """All services by name, in the order of their start."""
        return self._services

    @property
    def pids(self) -> frozenset[int]:
        """The processes of this target now, its warm parent among them."""
        found = {service.pid for service in self._services.values()} | {self._nursery.pid}
        return frozenset(pid for pid in found if pid is not None)

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Boot everything with these bug switches on; return when every service is ready.

        Raises:
            TargetError: it is started already, a bug is unknown, or a service did not get ready
                (:class:`~chaos.errors.NotReady`); nothing is left running then.
            ChaosError: not on Linux.
        """
        procfs.require_linux()
        if self._instrumentation is not None:
            raise TargetError(f"target {self.name} is started already")
        self._switch(bugs)
        self._instrumentation = instrumentation
        try:
            self._reserve_ports()
            self._nursery.open(self.run_dir, self._common_environment(), self._preload())
            self._boot(self._order)
            self.capture(self.run_dir)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every service and release what the target holds; safe to call twice."""
        self._nursery.close()
        for reserved in self._reserved.values():
            reserved.close()
        self._reserved.clear()
        self._instrumentation = None

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Back to the pristine world, or to a kept one: stateful services restart on its data.

        Stateless ones stay, unless they are not ready or the bug switches change.
        """
        changed = bugs != self._bugs
        self._switch(bugs)
        again = [
            spec
            for spec in self._order
            if changed
            or not spec.stateless
            or self._services[spec.name].state is not ServiceState.READY
        ]
        self._kill(again)
        self.restore(self.run_dir, kept)
        self._boot(again)

    # ------------------------------------------------------------------ steps

    @property
    def _running(self) -> Instrumentation:
        if self._instrumentation is None:
            raise TargetError(f"target {self.name} is not started")
        return self._instrumentation

    def _tell(self, service: str, event: str, details: Mapping[str, Any]) -> None:
        self._running.on_service(service, event, details)

    def _switch(self, bugs: frozenset[str]) -> None:
        for bug in sorted(bugs - self.bugs.keys()):
            raise TargetError(f"target {self.name} has no bug `{bug}`: {nearest(bug, self.bugs)}")
        self._bugs = bugs

    def _boot(self, specs: Iterable[ServiceSpec]) -> None:
        """Start services side by side, each as soon as those that it comes after are ready."""
        starting: dict[str, Future[None]] = {}

        def start(spec: ServiceSpec) -> None:
            for name in spec.after:
                if name in starting:
                    starting[name].result()
            self._services[spec.name].start(_BOOT_LIMIT_S)

        # One thread each, submitted in dependency order: none waits for one without a thread.
        with ThreadPoolExecutor(len(self._order), thread_name_prefix="chaos-boot") as pool:
            for spec in specs:
                starting[spec.name] = pool.submit(start, spec)
            try:
                ended, _ = wait(starting.values(), return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()
            except BaseException:
                # The others need not wait for their deadline.
                self._kill(self._order)
                raise

    def _kill(self, specs: Iterable[ServiceSpec]) -> None:
        services = [self._services[spec.name] for spec in specs]
        for service in services:
            service.send_kill()
        for service in services:
            service.kill()

    def _reserve_ports(self) -> None:
        for text in _texts(self.topology):
            for match in _PLACEHOLDER.finditer(text):
                name = match[2]
                if name and name not in self._reserved:
                    self._reserved[name] = _reserve()

    def _preload(self) -> list[str]:
        struck = any("CHAOS_CONTROLLER" in self._struck(spec) for spec in self._order)
        return [*(["chaos.agent"] if struck else []), *self.topology.preload]

    def _struck(self, spec: ServiceSpec) -> Mapping[str, str]:
        return self._running.environment(spec.name)

    def _program(self, spec: ServiceSpec) -> dict[str, Any]:
        """What the warm parent is to start for a service."""
        own = {**self.topology.environment, **spec.environment}
        environment = {
            **self._common_environment(),
            **{name: self._fill(value) for name, value in own.items()},
        }
        struck = dict(self._struck(spec))
        if "PYTHONPATH" in struck and "PYTHONPATH" in own:
            struck["PYTHONPATH"] += os.pathsep + environment["PYTHONPATH"]
        program: dict[str, Any] = {"environment": environment | struck}
        if isinstance(spec.start, Forked):
            program["function"] = spec.start.function
        else:
            program["arguments"] = [self._fill(word) for word in spec.start.arguments]
        return program

    def _common_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CHAOS_")}
        return {**inherited, procfs.LABEL: self._running.label}

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match[2]:
                return str(self.port(match[2]))
            return str(self.run_dir) if match[1] == "run_dir" else ",".join(sorted(self._bugs))

        return _PLACEHOLDER.sub(value, text)


def _order(topology: Topology) -> tuple[ServiceSpec, ...]:
    """The services such that each comes after those that it waits for.

    Raises:
        TargetError: two share a name, one waits for an unknown one, or some wait in a circle.
    """
    specs = {spec.name: spec for spec in topology.services}
    if len(specs) < len(topology.services):
        raise TargetError("two services of the topology have the same name")
    for spec in topology.services:
        for name in set(spec.after) - specs.keys():
            raise TargetError(
                f"service {spec.name} starts after `{name}`, which is none: {nearest(name, specs)}"
            )
    try:
        graph = TopologicalSorter({name: spec.after for name, spec in specs.items()})
        return tuple(specs[name] for name in graph.static_order())
    except CycleError as error:
        raise TargetError(f"services wait for each other: {' → '.join(error.args[1])}") from None


def _texts(topology: Topology) -> Iterator[str]:
    """Every text of a topology that may hold placeholders."""
    yield from topology.environment.values()
    for spec in topology.services:
        yield from spec.environment.values()
        if not isinstance(spec.start, Forked):
            yield from spec.start.arguments
        if spec.ready_port:
            yield f"{{port:{spec.ready_port}}}"


def _reserve() -> socket.socket:
    """Hold a free loopback port: bound and not listening, so connections to it are refused."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
