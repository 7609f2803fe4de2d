"""The reaper: a small process that outlives the runner and leaves nothing of its run behind.

What the target executes is executed by the reaper, so that whatever a program does it stays below
the reaper, which adopts orphans (PR_SET_CHILD_SUBREAPER, prctl(2)).

It waits for the end of the runner. When the runner says good-bye it exits and does nothing. When
the runner dies without a word (SIGKILL too), it undoes what the undo log holds open, ends every
process of the run, and removes the run directory if that was temporary. If both are killed, the
next run does that.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from array import array
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Executed by path and isolated (no site, no environment): found where the runner found it.
    sys.path[:] = json.loads(sys.argv[1])["sys_path"]

from chaos.errors import ChaosError
from chaos.safety import cgroup, owner, procfs
from chaos.safety.members import Members
from chaos.safety.owner import Owner
from chaos.safety.program import Launched, Program, spawn
from chaos.safety.undo import UndoLog

_GOOD_BYE, _REAP = b".", b"reap"
_LAUNCH = b"launch"
_MESSAGE_LIMIT = 4096
_MOST_DESCRIPTORS = 16
_KILLING_LIMIT_S = 10.0
_NOT_FOR_THE_REAPER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Reaper:
    """Guards one run for as long as it is entered.

    ``label`` is the value of ``CHAOS_RUN`` in the run's processes; ``remove_run_dir`` tells that
    the run directory is temporary and goes when the runner dies. Enter it before anything of the
    run is started, and start that by :meth:`launch`.

    Raises:
        ChaosError: not on Linux.
    """

    def __init__(self, label: str, run_dir: Path, remove_run_dir: bool) -> None:
        procfs.require_linux()
        self.label = label
        self.run_dir = run_dir.resolve()
        self.remove_run_dir = remove_run_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._group: Path | None = None
        self._claim: int | None = None
        """Held here and by the reaper: the run directory is nobody's only when both are dead."""
        self._talking = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its process id while it is on guard."""
        return self._process.pid if self._process else None

    @property
    def members(self) -> Members:
        """The processes of its run."""
        # A dead one has no descendants any more, and its pid may be another's.
        return Members(self.label, self.pid if self.is_alive else None, self._group)

    @property
    def is_alive(self) -> bool:
        """Whether it is on guard; not when somebody has killed it."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Put it on guard; takes a few milliseconds, and its own start-up need not be awaited."""
        if self._process is not None:
            raise ChaosError(f"the reaper of run {self.label} is on guard already")
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        runner = os.pidfd_open(os.getpid())
        # Blocked here and so, across fork and exec, in the reaper from its first instruction on.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_THE_REAPER)
        try:
            self._group = cgroup.make(self.label)
            inherited = [runner]
            if self.remove_run_dir:
                group = "" if self._group is None else str(self._group)
                self._claim = owner.claim(self.run_dir, Owner(self.label, group))
                inherited.append(self._claim)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, json.dumps(self._order(runner, inherited))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                # Not the runner's: a nested run must not take its own reaper for one of its parts.
                env={"PATH": os.defpath},
                pass_fds=inherited,
                start_new_session=True,
            )
        except BaseException:
            self._let_go()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
            os.close(runner)

    def _order(self, runner: int, inherited: list[int]) -> dict[str, Any]:
        return {
            "label": self.label,
            "run_dir": str(self.run_dir),
            "remove_run_dir": self.remove_run_dir,
            "runner": runner,
            "inherited": inherited,
            "group": None if self._group is None else str(self._group),
            # Ourselves last: an editable install is not on the path, and -S knows no finder for it.
            "sys_path": [
                *(str(Path(entry).absolute()) for entry in sys.path),
                str(Path(__file__).parents[2]),
            ],
        }

    def launch(self, program: Program) -> Launched:
        """Execute ``program`` below the reaper; from any thread.

        Raises:
            OSError: it cannot be executed.
            ChaosError: the reaper is gone.
        """
        order = os.memfd_create("program")  # an environment may be longer than a message
        try:
            os.write(order, json.dumps(program.order()).encode())
            with self._talking:
                socket.send_fds(self._link, [_LAUNCH], [order, *program.descriptors])
                told, descriptors = _receive(self._link)
        except OSError as error:
            raise ChaosError(f"the reaper of run {self.label} is gone: {error}") from error
        finally:
            os.close(order)
        if not told:
            raise ChaosError(f"the reaper of run {self.label} is gone")
        answer = json.loads(told)
        if not descriptors:
            raise OSError(answer["errno"], answer["error"])
        return Launched(answer["pid"], *descriptors)

    def close(self) -> None:
        """Say good-bye: the run ended in order, nothing is to be done. Safe to call twice."""
        self._end(_GOOD_BYE)

    def reap(self) -> None:
        """Have it do now what it does when the runner dies, and wait until that is done."""
        if self.is_alive:
            self._end(_REAP)
            return
        reap(self.members, self.run_dir, self.remove_run_dir)
        self.close()

    def _end(self, last_word: bytes) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            self._link.send(last_word)
        except OSError:
            pass  # somebody has killed it
        finally:
            self._link.close()
            process.wait()
            self._let_go()

    def _let_go(self) -> None:
        self._link.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        if self._group is not None:
            cgroup.remove(self._group)

    def __enter__(self) -> Reaper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reap(members: Members, run_dir: Path, remove_run_dir: bool) -> None:
    """Undo, kill and remove what is left of a run; each step is tried whatever the others did."""
    # A target may keep a log of its own in a directory of its own.
    for log in (run_dir, *sorted(path.parent for path in run_dir.glob("*/undo.jsonl"))):
        try:
            UndoLog(log).undo_all()
        except Exception as error:
            _complain(run_dir, error)
    members.kill(_KILLING_LIMIT_S)
    if remove_run_dir:
        shutil.rmtree(run_dir, ignore_errors=True)


def reap_stale() -> None:
    """Do for earlier runs of this user what neither their runner nor their reaper lived to do."""
    for run_dir, run in owner.stale():
        group = Path(run.group) if run.group else None
        reap(Members(run.label, group=group), run_dir, remove_run_dir=True)
        if group is not None:
            cgroup.remove(group)


def _complain(run_dir: Path, error: Exception) -> None:
    if run_dir.is_dir():
        with (run_dir / "reaper.log").open("a") as log:
            print(f"{type(error).__name__}: {error}", file=log)


class _Guard:
    """The reaper's own process: waits for the runner's end, and executes what it is asked to."""

    def __init__(self, link: socket.socket, runner: int) -> None:
        self._link = link
        self._runner = runner
        # A child's end wakes it up, to be collected.
        self._woken, waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)

    def wait(self) -> bool:
        """Whether the runner died without a good-bye.

        The pidfd says so even when a process forked from the runner still holds the link open.
        """
        while True:
            link = self._link.fileno()
            readable, _, _ = select.select([link, self._runner, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, _MESSAGE_LIMIT)
                _collect()
            if {link, self._runner} & {*readable}:
                said = self._hear()
                if said is not None:
                    return said != _GOOD_BYE

    def _hear(self) -> bytes | None:
        """The last word; None when there are more to come."""
        try:
            said, descriptors = _receive(self._link, socket.MSG_DONTWAIT)
        except OSError:  # nothing was said: the runner is dead
            return b""
        if said != _LAUNCH:
            return said
        order, *descriptors = descriptors
        try:
            pid = spawn(Program.of(json.loads(_content(order)), tuple(descriptors)))
        except OSError as error:
            self._answer({"errno": error.errno, "error": error.strerror})
            return None
        finally:
            for descriptor in (order, *descriptors):
                os.close(descriptor)
        pidfd = os.pidfd_open(pid)  # not collected yet, so that the pid is still its own
        self._answer({"pid": pid}, pidfd)
        os.close(pidfd)
        return None

    def _answer(self, told: dict[str, Any], *descriptors: int) -> None:
        try:
            socket.send_fds(self._link, [json.dumps(told).encode()], descriptors)
        except OSError:
            return  # the runner is dead, as will be seen


def _receive(link: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """A message, and the descriptors that came with it, which no program inherits."""
    # Not socket.recv_fds(), which forgets the flags it is given.
    size = socket.CMSG_LEN(_MOST_DESCRIPTORS * array("i").itemsize)
    said, ancillary, _, _ = link.recvmsg(_MESSAGE_LIMIT, size, flags | socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    return said, list(descriptors)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _collect() -> None:
    """Bury the children that have ended, and the orphans that became ours."""
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
            pass
    except ChildProcessError:
        return


def _main(order: dict[str, Any]) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for descriptor in order["inherited"]:
        os.set_inheritable(descriptor, False)
    group = Path(order["group"]) if order["group"] else None
    if group is not None:
        try:
            cgroup.join(group)
        except OSError:
            cgroup.remove(group)
            group = None
    link = socket.socket(fileno=sys.stdin.fileno())
    if _Guard(link, order["runner"]).wait():
        members = Members(order["label"], os.getpid(), group)
        reap(members, Path(order["run_dir"]), order["remove_run_dir"])
    if group is not None:
        cgroup.leave(group)
        cgroup.remove(group)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
