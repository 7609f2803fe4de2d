"""The warm parent: a process that has imported a system's code once and forks its services.

Executed by path with two inherited descriptors (a socket of a pair, the runner's pidfd), the
runner's ``sys.path`` in JSON and the run directory, it talks JSON messages over the socket::

    asked     {"preload": modules}                                          first of all
    told      {"ready": true}                                               after the imports
    asked     {"spawn": name, "function" | "arguments", "environment", "log", "cwd",
               "user": [name, uid, gid] | null, "leaves": [names of processes]}
    answered  {"started": name, "pid": ...}                                 by the child itself
    asked     {"signal": number, "name": name}                              to its process group
    answered  {"signalled": name}                                           when it has its effect
    told      {"exited": name, "pid": ..., "code" | "signal": ...}          at each death

What a service leaves in its process group when it dies is ended too, save for ``leaves``.

As the services' parent it alone can signal them without ever hitting a recycled pid. When the
runner ends or closes the socket it kills all of them and goes; should it die itself, the kernel
kills them (PR_SET_PDEATHSIG), stopped ones too.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

if __name__ == "__main__":
    # Executed by path: what is ours is found where the runner found it.
    sys.path[:] = json.loads(sys.argv[1])

from chaos.safety import procfs
from chaos.safety.program import FIRST_DESCRIPTOR

MESSAGE_LIMIT = 1 << 18
"""Longest message, in bytes."""

# linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl


@dataclass(frozen=True, slots=True)
class Child:
    """A service that lives: its process, and the names of daemons that may outlive it."""

    pid: int
    pidfd: int
    leaves: frozenset[str]


class WarmParent:
    """Forks, signals and buries services; single-threaded, so that a fork is always safe."""

    def __init__(self, link: socket.socket, runner: int) -> None:
        self._link = link
        self._runner = runner
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(link, selectors.EVENT_READ)
        self._selector.register(runner, selectors.EVENT_READ)

    def serve(self) -> Callable[[], object]:
        """Serve until the runner is gone; returns only in a forked child: what it is to run."""
        self._say(ready=True)
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, str):
                    self._bury(key.data)
                    continue
                # The runner's pidfd: it is dead, though a process forked from it keeps the link.
                message = self._link.recv(MESSAGE_LIMIT) if key.fd != self._runner else b""
                if not message:
                    self._end()
                program = self._obey(json.loads(message))
                if program is not None:
                    return program

    def _obey(self, asked: dict[str, Any]) -> Callable[[], object] | None:
        if "spawn" in asked:
            return self._spawn(asked)
        self._signal(asked["name"], asked["signal"])
        return None

    def _spawn(self, asked: dict[str, Any]) -> Callable[[], object] | None:
        name = asked["spawn"]
        parent = os.getpid()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            return self._become(asked, parent)
        pidfd = os.pidfd_open(pid)
        self._children[name] = Child(pid, pidfd, frozenset(asked["leaves"]))
        self._selector.register(pidfd, selectors.EVENT_READ, name)
        return None

    def _become(self, asked: dict[str, Any], parent: int) -> Callable[[], object]:
        procfs.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        _prctl(_PR_SET_NAME, asked["spawn"].encode()[:15])
        os.setpgid(0, 0)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        # Said by the child: it cannot be overtaken by what the service itself tells the runner.
        self._say(started=asked["spawn"], pid=os.getpid())
        self._selector.close()
        for child in self._children.values():
            os.close(child.pidfd)
        os.close(self._runner)
        self._link.close()
        os.environ.clear()
        os.environ.update(asked["environment"])
        if asked["user"]:
            name, uid, gid = asked["user"]
            os.initgroups(name, gid)
            os.setgid(gid)
            os.setuid(uid)
            # With the user the kernel forgets the first, and closes /proc/self to its own process.
            procfs.die_with_parent()
            _prctl(_PR_SET_DUMPABLE, 1)
            if os.getppid() != parent:
                os._exit(1)
        os.chdir(asked["cwd"])
        if "arguments" in asked:
            return _execution(asked["arguments"])
        sys.argv = [asked["spawn"]]
        return _function(asked["function"])

    def _signal(self, name: str, number: int) -> None:
        if name not in self._children:
            return
        child = self._children[name]
        # Those that have left its group (as PostgreSQL's do) are found while it lives only.
        elsewhere = _elsewhere(child) if number == signal.SIGKILL else {}
        if number == signal.SIGKILL and child.leaves:
            # The rest of its group follows when it is buried, those excepted that it may leave.
            os.kill(child.pid, number)
        else:
            _signal_group(child.pid, number)
        for pid, started in elsewhere.items():
            _end(pid, started)
        if number == signal.SIGSTOP:
            # WNOWAIT: the state is looked at, not consumed, so a second look does not block.
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._say(signalled=name)

    def _bury(self, name: str) -> None:
        child = self._children.pop(name)
        self._selector.unregister(child.pidfd)
        # Not reaped yet, so the group's id is still its own: what it forked goes with it.
        if child.leaves:
            _kill_group_but(child.pid, child.leaves)
        else:
            _signal_group(child.pid, signal.SIGKILL)
        end = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOWAIT)
        assert end is not None
        _reap(child, os.WNOHANG if child.leaves else 0)
        os.close(child.pidfd)
        how = "code" if end.si_code == os.CLD_EXITED else "signal"
        self._say(exited=name, pid=child.pid, **{how: end.si_status})

    def _end(self) -> None:
        for child in self._children.values():
            _signal_group(child.pid, signal.SIGKILL)
        for child in self._children.values():
            _reap(child)
        os._exit(0)

    def _say(self, **message: object) -> None:
        try:
            self._link.send(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError):
            self._end()


def _signal_group(pid: int, number: int) -> None:
    """Signal an unreaped child's group, or the child alone before it leads one."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)


def _elsewhere(child: Child) -> dict[int, int | None]:
    """Who descends from a living child, is in another group, and must not outlive it.

    Each with the time of its start. All of them are stopped then, and make no more of their kind.
    """
    found: dict[int, int | None] = {}
    while more := [
        pid
        for pid in procfs.descendants([child.pid])
        if pid not in found
        and procfs.group(pid) != child.pid
        and procfs.name(pid) not in child.leaves
    ]:
        _signal_group(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        for pid in more:
            found[pid] = procfs.started(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
    return found


def _end(pid: int, started: int | None) -> None:
    """SIGKILL a descendant unless it is another one by now, and bury it if it became our child."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        if procfs.started(pid) == started:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [])
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)


def _kill_group_but(group: int, spared: Collection[str]) -> None:
    """End the living members of an unreaped child's group, but for those of these names."""

    def living() -> list[int]:
        members = (pid for pid in procfs.pids() if procfs.group(pid) == group)
        return [pid for pid in members if procfs.is_alive(pid) and procfs.name(pid) not in spared]

    # Again, as one may have forked meanwhile.
    while pids := living():
        for pid in pids:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [])
                os.close(pidfd)
    # Those that were frozen with the rest are to live on, not to stand still.
    _signal_group(group, signal.SIGCONT)


def _reap(child: Child, flags: int = 0) -> None:
    """Bury a killed child and, as this is the subreaper, its group: all of it, unless WNOHANG."""
    for kind, ident in ((os.P_PGID, child.pid), (os.P_PIDFD, child.pidfd)):
        with suppress(ChildProcessError):
            while os.waitid(kind, ident, os.WEXITED | flags):
                pass


def _execution(arguments: list[str]) -> Callable[[], object]:
    return lambda: os.execvp(arguments[0], arguments)


def _function(where: str) -> Callable[[], object]:
    if "CHAOS_CONTROLLER" in os.environ:
        importlib.import_module("chaos.agent").start()
    module, _, name = where.partition(":")
    function: Callable[[], object] = attrgetter(name)(importlib.import_module(module))
    return function


def _warm_up(preload: list[str]) -> None:
    for module in preload:
        importlib.import_module(module)
    # What is imported now never becomes garbage: the collector need not touch (and copy) it.
    gc.collect()
    gc.freeze()


def main() -> None:
    """Warm up and serve; in a child: be the service."""
    os.chdir(sys.argv[2])
    link = socket.socket(fileno=FIRST_DESCRIPTOR)
    runner = FIRST_DESCRIPTOR + 1
    link.set_inheritable(False)
    os.set_inheritable(runner, False)
    order = json.loads(link.recv(MESSAGE_LIMIT))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _warm_up(order["preload"])
    program = WarmParent(link, runner).serve()
    program()


if __name__ == "__main__":
    main()
