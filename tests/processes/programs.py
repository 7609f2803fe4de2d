"""Services of one behaviour each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.operation import Operations
from chaos.world import World
from targets.processes import ProcessTarget
from targets.topology import Command, Forked, ServiceSpec, Topology
from tests.ledger.teller import notify_ready


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


def tells_its_environment() -> None:
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    works()


def counts_its_starts() -> None:
    with Path("starts").open("a") as file:
        file.write("start\n")
    works()


def forked(name: str, behaviour: str = "works", **more: Any) -> ServiceSpec:
    return ServiceSpec(name, Forked(f"tests.processes.programs:{behaviour}"), **more)


def shell(name: str, script: str, **more: Any) -> ServiceSpec:
    return ServiceSpec(name, Command(("sh", "-c", script)), **more)


def listener(name: str, first: str = ":") -> ServiceSpec:
    """A shell that runs a script and becomes a server."""
    serve = f"exec python3 -m http.server -b 127.0.0.1 {{port:{name}}}"
    return shell(name, f"{first}; {serve}", ready_port=name)


class Programs(ProcessTarget):
    """A target of any services, without data."""

    name = "programs"
    points = {}
    operations = Operations()
    bugs: Mapping[str, str] = {"some-bug": "changes nothing"}

    def __init__(
        self, *services: ServiceSpec, preload: tuple[str, ...] = ("tests.processes.programs",)
    ) -> None:
        self.topology = Topology(services, preload)
        super().__init__()

    def client(self) -> None:
        """There is none."""

    def observe(self) -> World:
        return World()

    def settle(self, deadline_s: float) -> None:
        """Nothing is ever under way."""

    def clean_up(self, client: object, deadline_s: float) -> None:
        """Nothing is ever made."""

    def restore(self, run_dir: Path) -> None:
        (run_dir / "restored").touch()
