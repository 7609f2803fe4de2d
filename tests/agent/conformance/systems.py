"""Real servers of several processes, all of which answer ``value`` by ``process value``."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
LIMIT_S = 20.0


class NotAnswered(Exception):
    """Whoever was to answer has died."""


class System(ABC):
    """A server in a process group of its own, until :meth:`stop`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self.log = directory / "log"
        path = os.pathsep.join([environment["PYTHONPATH"], str(PROGRAMS)])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment, "PYTHONPATH": path},
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=self._stdout(log),
                stderr=log,
                start_new_session=True,
            )

    def _stdout(self, log: Any) -> Any:
        return log

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    @abstractmethod
    def wait_ready(self) -> None:
        """Return when it answers."""

    @abstractmethod
    def begin(self, value: str, request: str | None = None) -> Future[str]:
        """Ask; the answer is ``process value``."""

    def ask(self, value: str, request: str | None = None) -> str:
        return self.begin(value, request).result(LIMIT_S)


class Web(System):
    """A web server; ``{port}`` in its command is where it listens."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._clients = ThreadPoolExecutor(8)
        command = [word.format(port=self.port) for word in command]
        super().__init__(
            [str(Path(sys.executable).with_name(command[0])), *command[1:]], environment, directory
        )

    def stop(self) -> None:
        super().stop()
        self._clients.shutdown()

    def wait_ready(self) -> None:
        until = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(NotAnswered):
                self.ask("ready")
                return
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(self.log.read_text())
            time.sleep(0.05)

    def begin(self, value: str, request: str | None = None) -> Future[str]:
        return self._clients.submit(self._get, value, request)

    def _get(self, value: str, request: str | None) -> str:
        headers = {"X-Request-Id": request} if request else {}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/{value}", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=LIMIT_S) as response:
                return str(response.read().decode())
        except (OSError, urllib.error.URLError) as error:
            raise NotAnswered from error


class Jobs(System):
    """A Celery worker, whose broker is a directory."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        for name in ("queue", "unsent", "answers", "control"):
            (directory / name).mkdir()
        self._directory = directory
        self._sending = threading.Lock()
        self._clients = ThreadPoolExecutor(8)
        environment = {**environment, "MILL_DIRECTORY": str(directory)}
        super().__init__([sys.executable, "-m", *command], environment, directory)

    def stop(self) -> None:
        super().stop()
        self._clients.shutdown()

    def wait_ready(self) -> None:
        self.ask("ready")

    def begin(self, value: str, request: str | None = None) -> Future[str]:
        return self._clients.submit(self._send, value, request)

    @functools.cached_property
    def _app(self) -> Any:
        from celery import Celery  # optional, and slow

        app = Celery("client", broker="filesystem://")
        app.conf.broker_transport_options = {
            "data_folder_in": str(self._directory / "queue"),
            "data_folder_out": str(self._directory / "unsent"),
            "control_folder": str(self._directory / "control"),
        }
        return app

    def _send(self, value: str, request: str | None) -> str:
        with self._sending:
            number: str = self._app.send_task("answer", [value, request], ignore_result=True).id
            for message in (self._directory / "unsent").iterdir():
                # The worker takes what it finds in the queue, be it half written.
                message.rename(self._directory / "queue" / message.name)
        answer = self._directory / "answers" / number
        until = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < until:
            if answer.exists():
                return answer.read_text()
            time.sleep(0.01)
        raise NotAnswered


class Pool(System):
    """A pool of :mod:`multiprocessing`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self._tickets = itertools.count()
        self._waiting: dict[int, Future[str]] = {}
        super().__init__(
            [sys.executable, str(PROGRAMS / "pool.py"), *command], environment, directory
        )
        self._reader = threading.Thread(target=self._read)

    def _stdout(self, log: Any) -> Any:
        return subprocess.PIPE

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join()
        super().stop()

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b'"ready"\n'
        self._reader.start()

    def begin(self, value: str, request: str | None = None) -> Future[str]:
        future: Future[str] = Future()
        ticket = next(self._tickets)
        self._waiting[ticket] = future
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([ticket, value, request]).encode() + b"\n")
        self.process.stdin.flush()
        return future

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            ticket, answer = json.loads(line)
            self._waiting.pop(ticket).set_result(answer)


GUNICORN = ["gunicorn", "-w", "2", "--no-control-socket", "-b", "127.0.0.1:{port}", "web:wsgi"]
UWSGI = ["uwsgi", "--master", "-p", "2", "--enable-threads", "--http-socket", "127.0.0.1:{port}",
         "--virtualenv", sys.prefix, "--module", "web:wsgi"]  # fmt: skip
CELERY = ["celery", "-A", "jobs", "worker", "-c", "2", "--without-gossip", "--without-mingle"]

SYSTEMS: dict[str, tuple[type[System], list[str]]] = {
    "gunicorn sync": (Web, GUNICORN),
    "gunicorn --preload": (Web, [*GUNICORN, "--preload"]),
    "gunicorn gthread": (Web, [*GUNICORN, "-k", "gthread", "--threads", "4"]),
    "gunicorn gevent": (Web, [*GUNICORN, "-k", "gevent"]),
    "uvicorn --workers": (Web, ["uvicorn", "--workers", "2", "--port", "{port}", "web:asgi"]),
    "uwsgi --master": (Web, UWSGI),
    "uwsgi --threads": (Web, [*UWSGI, "--threads", "2"]),
    "uwsgi --lazy-apps": (Web, [*UWSGI, "--lazy-apps"]),
    "celery prefork": (Jobs, [*CELERY, "-P", "prefork"]),
    "celery threads": (Jobs, [*CELERY, "-P", "threads"]),
    "celery gevent": (Jobs, [*CELERY, "-P", "gevent"]),
    "celery eventlet": (Jobs, [*CELERY, "-P", "eventlet"]),
    "multiprocessing fork": (Pool, ["fork"]),
    "multiprocessing spawn": (Pool, ["spawn"]),
    "multiprocessing forkserver": (Pool, ["forkserver"]),
}
"""Name in the table of docs/processes.md → what it is, and its command."""
ONE_PROCESS = {"celery threads", "celery gevent", "celery eventlet"}
"""Who strikes them by a crash has none left."""
