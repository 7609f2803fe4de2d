"""What must be undone, written down before it is done.

A fault writes its undo into the run directory first and strikes then. Whoever is alive afterwards
(the engine, or the reaper when the runner died) executes what is still open, newest first.
Undoing twice is harmless: an entry says how the world should be, not how to move it.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.errors import UndoError
from chaos.safety import procfs


class Entry(ABC):
    """One undo: a frozen dataclass of JSON values, defined at the top of an importable module.

    A new kind is a new subclass, anywhere: the log names it by module and class, so that the
    reaper, a process of its own, finds it too.
    """

    @abstractmethod
    def undo(self) -> None:
        """Make the fault undone; do nothing when it is so already."""


@dataclass(frozen=True, slots=True)
class Thaw(Entry):
    """Let a stopped process and its process group run on.

    ``started`` is its start time (:func:`chaos.safety.procfs.started`): another process that got
    the same pid since is not touched.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Thaw:
        """The entry for the process that has this pid now.

        Raises:
            UndoError: there is none.
        """
        started = procfs.started(pid)
        if started is None:
            raise UndoError(f"process {pid} is gone; there is nothing to freeze and thaw")
        return cls(pid, started)

    def undo(self) -> None:
        """Send SIGCONT, to the whole group when it leads one."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Compared while the pidfd is held, and sent through it: no moment for a recycled pid.
            if procfs.started(self.pid) != self.started:
                return
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            if procfs.group(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)


@dataclass(frozen=True, slots=True)
class RemovePath(Entry):
    """Remove a file, or a directory with all that is in it."""

    path: str

    def undo(self) -> None:
        """Remove it."""
        path = Path(self.path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Open:
    """An entry as the log holds it; its kind is resolved only when it is executed."""

    token: int
    kind: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.kind}({given})"

    def undo(self) -> None:
        """Execute it."""
        module, _, name = self.kind.partition(":")
        kind = getattr(importlib.import_module(module), name)
        if not issubclass(kind, Entry):
            raise UndoError(f"{self.kind} is not a kind of undo entry")
        kind(**self.arguments).undo()


class UndoLog:
    """The open undos of a run: JSON lines in ``<run_dir>/undo.jsonl``; safe from any thread.

    One process writes; it reads the file once, when it opens the log, and knows from then on what
    is open. Whoever opens the log when that process has died finds the same in the file, at
    whatever instruction it died: each change is one system call (a line is appended, or the whole
    file is cut to nothing when its last open entry is done), and is made in the file before it is
    believed in memory. A round that ends well leaves the file empty.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "undo.jsonl"
        self._lock = threading.Lock()
        self._open, self._next, self._cut_off = self._read()

    def push(self, entry: Entry) -> int:
        """Write ``entry`` down, before its fault is injected; the token is for :meth:`done`.

        Raises:
            UndoError: it could not be written whole, so the fault must not be injected.
        """
        # Raises TypeError for a class that is not a dataclass, before anything is written.
        arguments = asdict(entry)  # type: ignore[call-overload]
        kind = f"{type(entry).__module__}:{type(entry).__qualname__}"
        with self._lock:
            token = self._next
            self._append(token=token, kind=kind, arguments=arguments)
            self._open[token] = Open(token, kind, arguments)
            self._next += 1
        return token

    def done(self, token: int) -> None:
        """Note that the undo is not needed any more; nothing to note when it is not open."""
        with self._lock:
            if token not in self._open:
                return
            if len(self._open) == 1:
                with suppress(FileNotFoundError):  # an entry may have removed the run directory
                    os.truncate(self.path, 0)
                self._cut_off = False
            else:
                self._append(token=token, done=True)
            del self._open[token]

    @property
    def open(self) -> tuple[Open, ...]:
        """What is still to be undone, oldest first."""
        with self._lock:
            return tuple(self._open.values())

    def undo_all(self) -> None:
        """Execute everything open, newest first, whatever fails on the way.

        Raises:
            UndoError: some could not be undone, after all were tried; they stay open.
        """
        failures: list[str] = []
        for entry in reversed(self.open):
            try:
                entry.undo()
                self.done(entry.token)
            except Exception as error:
                failures.append(f"{entry}: {type(error).__name__}: {error}")
        if failures:
            raise UndoError("could not undo " + "; ".join(failures))

    def _append(self, **line: object) -> None:
        # One unbuffered append: what a killed runner has written is in the file.
        text = b"\n" * self._cut_off + json.dumps(line).encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            written = os.write(descriptor, text)
        finally:
            os.close(descriptor)
        self._cut_off = written < len(text)
        if self._cut_off:
            raise UndoError(
                f"only a part of a line could be written to {self.path}; is that disk full?"
            )

    def _read(self) -> tuple[dict[int, Open], int, bool]:
        """What is open, the next token, and whether the last line lacks its end."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            text = ""
        found: dict[int, Open] = {}
        token = 0
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                # It was being written when its runner died, or the disk was full: nothing struck.
                continue
            token = max(token, entry["token"])
            if "kind" in entry:
                found[entry["token"]] = Open(entry["token"], entry["kind"], entry["arguments"])
            else:
                found.pop(entry["token"], None)
        return found, token + 1, bool(text) and not text.endswith("\n")
