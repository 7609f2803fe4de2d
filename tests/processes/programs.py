"""Services of one behaviour each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from chaos.operation import Operations, Scope
from chaos.target import Limits
from chaos.world import World
from targets.processes import ProcessTarget
from targets.topology import Command, Finished, Forked, Listening, ServiceSpec, Topology
from tests.ledger.teller import notify, notify_ready


def works() -> None:
    notify_ready()
    signal.pause()


def breaks() -> None:
    for number in range(30):
        print("line", number)
    sys.exit(3)


def is_silent() -> None:
    signal.pause()


def has_a_child() -> None:
    subprocess.Popen(["sleep", "1000"])
    works()


def has_a_child_and_a_daemon() -> None:
    subprocess.Popen(["tail", "-f", "/dev/null"])
    subprocess.Popen(["sleep", "1000"])
    works()


def says_that_it_loads() -> None:
    notify("STATUS=loading")
    signal.pause()


def gets_healthy() -> None:
    """Is well from the third time on that its health is asked."""
    answers = iter([HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FOUND])

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/health"
            status = next(answers, HTTPStatus.NO_CONTENT) if found else HTTPStatus.NOT_FOUND
            print("health:", status.value, flush=True)
            self.send_response(status)
            self.end_headers()

    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health).serve_forever()


def tells_its_environment() -> None:
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    works()


def looks_at_itself() -> None:
    Path("/proc/self/environ").read_bytes()
    works()


def counts_its_starts() -> None:
    with Path("starts").open("a") as file:
        file.write("start\n")
    works()


def forked(name: str, behaviour: str = "works", **more: Any) -> ServiceSpec:
    return ServiceSpec(name, Forked(f"tests.processes.programs:{behaviour}"), **more)


def shell(name: str, script: str, **more: Any) -> ServiceSpec:
    return ServiceSpec(name, Command(("sh", "-c", script)), **more)


def job(name: str, script: str, **more: Any) -> ServiceSpec:
    return shell(name, script, ready=Finished(), **more)


def listener(name: str, first: str = ":") -> ServiceSpec:
    """A shell that runs a script and becomes a server."""
    serve = f"exec python3 -m http.server -b 127.0.0.1 {{port:{name}}}"
    return shell(name, f"{first}; {serve}", ready=Listening(name))


class Programs(ProcessTarget):
    """A target of any services, without data."""

    name = "programs"
    points = {}
    operations = Operations()
    bugs: Mapping[str, str] = {"some-bug": "changes nothing"}

    def __init__(
        self,
        *services: ServiceSpec,
        preload: tuple[str, ...] = ("tests.processes.programs",),
        limits: Limits | None = None,
        **topology: Any,
    ) -> None:
        self.topology = Topology(services, preload, **topology)
        self.limits = limits or self.limits
        super().__init__()

    def client(self) -> None:
        """There is none."""

    def observe(self) -> World:
        return World()

    def clean_up(self, scope: Scope) -> None:
        """Nothing is ever made."""

    def restore(self, run_dir: Path, kept: object = None) -> None:
        (run_dir / "restored").write_text(repr(kept))
