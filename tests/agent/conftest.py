"""A real service process that evaluates expressions, and a controller for it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from chaos.failpoints.controller import Controller
from chaos.point import Point

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE_S = 10


class ServiceDied(Exception):
    """The process ended before it answered."""


class CallFailed(Exception):
    """The expression raised in the service."""


class Service:
    """A process that runs ``programs/service.py``."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAMS / "service.py"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._tickets = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def begin(self, expression: str) -> Future[Any]:
        """Evaluate in the background."""
        future: Future[Any] = Future()
        ticket = next(self._tickets)
        self._waiting[ticket] = future
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([ticket, expression]) + "\n")
        self.process.stdin.flush()
        return future

    def ask(self, expression: str) -> Any:
        """Evaluate, and return the value."""
        return self.begin(expression).result(DEADLINE_S)

    def stop(self) -> str:
        """Kill it, and what it forked, and return what they wrote to standard error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        errors = self.process.stderr.read()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        return errors

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            ticket, outcome, value = json.loads(line)
            future = self._waiting.pop(ticket)
            if outcome == "ok":
                future.set_result(value)
            else:
                future.set_exception(CallFailed(value))
        for future in self._waiting.values():
            future.set_exception(ServiceDied())


def point(name: str) -> Point:
    return Point(f"shop:{name}")


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller(label="test", request_id_reader="shop:current_request") as running:
        yield running


Launch = Callable[..., Service]


@pytest.fixture
def launch(controller: Controller) -> Iterator[Launch]:
    """Start a service whose agent is connected."""
    started: list[Service] = []

    def start(name: str = "shop", by: Controller | None = None) -> Service:
        by = by or controller
        service = Service(by.environment(name))
        started.append(service)
        by.wait_connected([name], DEADLINE_S)
        assert service.ask("1") == 1  # it has imported what it serves
        return service

    yield start
    for service in started:
        assert service.process.stdin is not None
        if not service.process.stdin.closed:
            service.stop()


@pytest.fixture
def service(launch: Launch) -> Service:
    return launch()
