"""Runs a topology as processes of this machine. Linux only.

Every service is a child of one *warm parent* (:mod:`targets.processes.warm_parent`): an executed
Python that has imported the system's code once, and forks a service in milliseconds or executes a
program.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from chaos.errors import NotSettled, TargetError, nearest
from chaos.safety import procfs
from chaos.safety.members import Members
from chaos.target import Instrumentation, Limits, ServiceState, Target
from targets import placeholders
from targets.links.proxied import ProxiedLink
from targets.links.proxies import Proxies, binary
from targets.processes.account import account_of, make_directory
from targets.processes.nursery import Nursery
from targets.processes.ports import Ports
from targets.processes.service import LocalService
from targets.topology import Forked, Imaged, ServiceSpec, Topology

_LOOPBACK = "127.0.0.1,localhost,::1"
_MAY_PASS = 0o011
"""Mode bits that let others reach what is inside, without seeing what there is."""


class ProcessTarget(Target):
    """A target whose services are processes of this machine.

    A subclass gives ``name``, ``topology``, ``points``, ``operations`` and ``bugs`` and implements
    ``client``, ``observe`` and ``clean_up``; :attr:`data` says what the system knows in files, and
    :meth:`unfinished` what it still does. What differs from the defaults of ``limits`` must be
    there when it is made. Services run in the run directory, log to
    ``logs/<service>.log`` there, and bind their ports with ``SO_REUSEADDR``: the runner holds each
    port, not listening, so that a dead service refuses and nobody takes its port.

    Raises:
        TargetError: the topology has a mistake (:meth:`~targets.topology.Topology.in_order`).
    """

    topology: Topology
    data: tuple[str, ...] = ()
    """Where the stateful services keep all that they know: shell patterns of files and directories
    in the run directory (``*.db*``). What is missing there they make when they start."""
    service_kind: type[LocalService] = LocalService
    """What a service is to the runner."""

    def __init__(self) -> None:
        self._order = self.topology.in_order(self.bugs)
        self._instrumentation: Instrumentation | None = None
        self._bugs: frozenset[str] = frozenset()
        self._ports = self._make_ports()
        self._proxies = Proxies(self.topology.links) if binary() and self.topology.links else None
        if self._proxies:
            self.capabilities = self.capabilities | {"links"}
        self._nursery = self._make_nursery()
        self._children = {
            spec.name: self.service_kind(
                spec, self, self._nursery, partial(self._program, spec), self.limits
            )
            for spec in self._order
        }
        self._services = {
            spec.name: self._children[spec.name] for spec in self._order if not spec.is_job
        }

    # ------------------------------------------------------------------ for subclasses

    def unfinished(self) -> Collection[object]:
        """What is queued or in flight, timers and retries included; :meth:`settle` asks for it.

        Asked again and again until there is nothing; whoever cannot be asked (a broker that is
        down) may raise.
        """
        return ()

    def settle(self, deadline_s: float) -> None:
        """Return as soon as nothing is unfinished; see :meth:`chaos.target.Target.settle`."""
        asking = Retrying(
            retry=retry_if_result(bool) | retry_if_exception_type(Exception),
            stop=stop_after_delay(deadline_s),
            wait=wait_fixed(self.limits.poll_s),
        )
        try:
            asking(self.unfinished)
        except RetryError as error:
            last = error.last_attempt
            why = last.exception()
            told = f"nobody can tell: {why!r}" if why else "; ".join(map(str, last.result()))
            raise NotSettled(told) from why

    def copy_of_data(self) -> Mapping[Path, bytes]:
        """All of :attr:`data` as it is now, for a :meth:`keep` of services that keep it in files.

        That is worth it where ``given`` takes longer than to start the services again.
        """
        return {path: path.read_bytes() for path in self._files() if path.is_file()}

    def restore(self, run_dir: Path, kept: object = None) -> None:
        """Bring the data of the stateful services back; they are down meanwhile.

        To the pristine world (no :attr:`data` at all) or, with ``kept``, a
        :meth:`copy_of_data`, to that of then.
        """
        was: Mapping[Path, bytes] = kept if isinstance(kept, Mapping) else {}
        for path in [*self._files()]:
            if path not in was and not path.is_dir():
                path.unlink()
        for path, content in was.items():
            path.write_bytes(content)

    def capture(self, run_dir: Path) -> None:
        """Keep what :meth:`restore` needs; called once, when everything is ready the first time."""

    @property
    def run_dir(self) -> Path:
        """Directory of this run."""
        return self._running.run_dir.absolute()

    def port(self, name: str) -> int:
        """The loopback port that ``{port:NAME}`` stands for, from start to stop.

        Raises:
            TargetError: the topology has no such port, or the target is not started.
        """
        return self._ports[name]

    def address(self, source: str, name: str) -> str:
        """The ``host:port`` that ``{link:SOURCE>NAME}`` stands for, from start to stop."""
        if self._proxies and (link := self._proxies.get(f"{source}>{name}")):
            return f"{link.host}:{link.port}"
        return self.listener(name)

    def listener(self, name: str) -> str:
        """The ``host:port`` where a service itself is reached, without any link."""
        return f"127.0.0.1:{self.port(name)}"

    # ------------------------------------------------------------------ the contract

    @property
    def services(self) -> Mapping[str, LocalService]:
        """All services by name, in the order of their start."""
        return self._services

    @property
    def links(self) -> Mapping[str, ProxiedLink]:
        """The links that lead through toxiproxy, where there is one."""
        return {} if self._proxies is None else self._proxies

    @property
    def pids(self) -> frozenset[int]:
        """The processes of this target now, its warm parent among them."""
        found = {child.pid for child in self._children.values()} | {self._nursery.pid}
        left = self._left_behind() if self._instrumentation else ()
        return frozenset(pid for pid in (*found, *left) if pid is not None)

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Boot everything with these bug switches on; return when every service is ready.

        Raises:
            TargetError: it is started already, a bug is unknown, a fixed port is taken, a service
                cannot run as its user, or was not ready, or a job failed
                (:class:`~chaos.errors.NotReady`); nothing is left running then.
            ChaosError: not on Linux.
        """
        procfs.require_linux()
        if self._instrumentation is not None:
            raise TargetError(f"target {self.name} is started already")
        self._switch(bugs)
        self._instrumentation = instrumentation
        try:
            self._ports.hold()
            if self._proxies:
                upstreams = {name: self.listener(name) for name in self._ports}
                self._proxies.open(
                    upstreams, self.run_dir, instrumentation.label, instrumentation.launch,
                    self.limits.start_s,
                )  # fmt: skip
            # Imports are part of every start: they may take as long as the longest.
            limit_s = self._longest(lambda limits: limits.start_s)
            self._nursery.open(
                self.run_dir,
                self._common_environment(),
                self._preload(),
                limit_s,
                instrumentation.launch,
            )
            self._boot(self._order)
            self.capture(self.run_dir)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every service and release what the target holds; safe to call twice."""
        limit_s = self._longest(lambda limits: limits.stop_s)
        if self._leaves and self._instrumentation:
            self._members.kill(limit_s, self._leaves)  # as long as they are below the warm parent
        self._nursery.close(limit_s)
        if self._leaves and self._instrumentation:
            self._members.kill(limit_s, self._leaves)
        if self._proxies:
            self._proxies.close()
        self._ports.release()
        self._instrumentation = None

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Back to the pristine, or the ``kept``, world: stateful services restart on restored data.

        Stateless ones stay, unless they are not ready or the bug switches change, which foreign
        ones do not see. Jobs run again by the same rule, but not for a kept world: what they do was
        done in it.
        """
        changed = bugs != self._bugs
        self._switch(bugs)
        again = [
            spec
            for spec in self._order
            if ((changed and not spec.foreign) or not spec.stateless or self._is_missing(spec))
            and not (spec.is_job and kept is not None)
        ]
        self._kill(again)
        self.restore(self.run_dir, kept)
        self._boot(again)

    # ------------------------------------------------------------------ steps

    def _make_nursery(self) -> Nursery:
        return Nursery(self._tell)

    def _make_ports(self) -> Ports:
        return Ports(self.topology)

    @property
    def _running(self) -> Instrumentation:
        if self._instrumentation is None:
            raise TargetError(f"target {self.name} is not started")
        return self._instrumentation

    def _longest(self, limit_s: Callable[[Limits], float]) -> float:
        """A limit of the target, or of that service which has more time."""
        return max(map(limit_s, (self.limits, *(c.limits for c in self._children.values()))))

    def _files(self) -> Iterator[Path]:
        """Each file that belongs to the data, with those inside its directories."""
        for pattern in self.data:
            for path in [*self.run_dir.glob(pattern)]:
                yield path
                yield from path.rglob("*") if path.is_dir() else ()

    @property
    def _leaves(self) -> frozenset[str]:
        return frozenset(name for spec in self._order for name in spec.leaves)

    def _left_behind(self) -> Iterator[int]:
        """The daemons that services have left."""
        if self._leaves:
            yield from self._members.living(self._leaves)

    @property
    def _members(self) -> Members:
        return Members(self._running.label, self._nursery.pid)

    def _is_missing(self, spec: ServiceSpec) -> bool:
        return not spec.is_job and self._services[spec.name].state is not ServiceState.READY

    def _tell(self, service: str, event: str, details: Mapping[str, Any]) -> None:
        if service in self._services:
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
            self._children[spec.name].start()

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
        children = [self._children[spec.name] for spec in specs]
        for child in children:
            child.send_kill()
        for child in children:
            child.kill()

    def _preload(self) -> list[str]:
        struck = any("CHAOS_CONTROLLER" in self._struck(spec) for spec in self._order)
        return [*(["chaos.agent"] if struck else []), *self.topology.preload]

    def _struck(self, spec: ServiceSpec) -> Mapping[str, str]:
        return {} if spec.is_job else self._running.environment(spec.name)

    def _program(self, spec: ServiceSpec) -> dict[str, Any]:
        """What the warm parent is to start for a service."""
        fill = partial(placeholders.fill, values=self._values())
        account = account_of(spec)
        own = {**self.topology.environment, **spec.environment}
        environment = {
            **self._common_environment(),
            **(account.environment if account else {}),
            **{name: fill(value) for name, value in own.items()},
        }
        struck = dict(self._struck(spec))
        if "PYTHONPATH" in struck and "PYTHONPATH" in own:
            struck["PYTHONPATH"] += os.pathsep + environment["PYTHONPATH"]
        directory = self.run_dir / fill(spec.cwd)
        make_directory(directory, account)
        program: dict[str, Any] = {
            "environment": environment | struck,
            "cwd": str(directory),
            "user": (account.name, account.uid, account.gid) if account else None,
            "leaves": spec.leaves,
        }
        if account:
            self.run_dir.chmod(self.run_dir.stat().st_mode | _MAY_PASS)
        if isinstance(spec.start, Forked):
            program["function"] = spec.start.function
        elif isinstance(spec.start, Imaged):
            raise TargetError(f"service {spec.name} is an image, which no process can be made of")
        else:
            program["arguments"] = [fill(word) for word in spec.start.words(self._bugs)]
        return program

    def _values(self) -> dict[str, str]:
        """What each placeholder stands for now."""
        return {
            placeholders.RUN_DIR: str(self.run_dir),
            placeholders.TARGET_DIR: str(Path(inspect.getfile(type(self))).resolve().parent),
            placeholders.PYTHON: sys.executable,
            placeholders.BUGS: ",".join(sorted(self._bugs)),
            **{placeholders.port(name): str(number) for name, number in self._ports.items()},
            **{placeholders.link(*link): self.address(*link) for link in self.topology.links},
        }

    def _common_environment(self) -> dict[str, str]:
        withheld = ("CHAOS_", *self.topology.withheld)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(withheld)}
        for name in ("no_proxy", "NO_PROXY"):
            # Services find each other on this machine, whatever proxy leads away from it.
            inherited[name] = ",".join(filter(None, (inherited.get(name), _LOOPBACK)))
        return {**inherited, procfs.LABEL: self._running.label}
