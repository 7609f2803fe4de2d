"""Measures the embedded reference control plane; run by hand: python bench/control_plane.py."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3
from rich.console import Console
from rich.table import Table

from chaos.operation import Scope
from chaos.target import Instrumentation
from targets.embedded.target import Embedded

IDLE_S = 3.0


class Stopwatch:
    """Durations by name, in milliseconds."""

    def __init__(self) -> None:
        self.durations: dict[str, list[float]] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.durations.setdefault(name, []).append((time.perf_counter() - began) * 1e3)

    def table(self) -> Table:
        table = Table("what", "n", "median ms", "worst ms")
        for name, found in self.durations.items():
            median, worst = statistics.median(found), max(found)
            table.add_row(name, str(len(found)), f"{median:.2f}", f"{worst:.2f}")
        return table


def cpu_s(pids: frozenset[int]) -> float:
    """Processor time that these processes have used, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(target: Embedded, watch: Stopwatch, rounds: int) -> None:
    with watch.time("client: find the cloud, authenticate, discover"):
        client = target.client()
        list(client.compute.servers())
        list(client.block_storage.volumes())
    scope = Scope(client, request_id="req-bench")

    def run(operation: str, *arguments: str, wait: str | None = None) -> None:
        extra = {} if wait is None else {"wait": wait}
        target.operations[operation].function(scope, *arguments, **extra)

    http = urllib3.PoolManager(headers={"X-Auth-Token": client.auth_token or ""})
    url = f"http://127.0.0.1:{target.port('placement')}/resource_providers"
    for _ in range(rounds * 10):
        with watch.time("one HTTP hop (placement, list providers)"):
            http.request("GET", url)

    def lap(name: str, action: Callable[[], object]) -> None:
        with watch.time(name):
            action()

    for _ in range(rounds):
        lap("volume.create", lambda: run("volume.create", "data"))
        lap("server.create, answer (202)", lambda: run("server.create", "vm", wait=""))
        lap("… until ACTIVE", lambda: run("server.wait", "vm", "ACTIVE"))
        lap("volume.attach until in-use", lambda: run("volume.attach", "vm", "data"))
        lap("server.reboot until ACTIVE", lambda: run("server.reboot", "vm", wait="ACTIVE"))
        lap(
            "volume.detach until available",
            lambda: run("volume.detach", "vm", "data", wait="available"),
        )
        lap("observe()", target.observe)
        lap("server.delete, answer (204)", lambda: run("server.delete", "vm"))
        lap("… settle()", lambda: target.settle(10))
        lap("settle() when nothing is to do", lambda: target.settle(10))
        run("server.wait_gone", "vm")
        lap("volume.delete", lambda: run("volume.delete", "data"))
        run("server.create", "left")
        lap("clean_up() of one server", lambda: target.clean_up(scope))
        run("server.create", "left")
        target.settle(10)
        lap("reset()", lambda: target.reset(frozenset()))
        lap("kill compute + restart + ready", lambda: restart(target, "compute-host1"))


def restart(target: Embedded, service: str) -> None:
    target.services[service].kill()
    target.services[service].start()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    rounds = options.parse_args().rounds
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="bench-") as run_dir:
        target = Embedded()
        instrumentation = Instrumentation("bench", Path(run_dir), lambda _: {}, lambda *_: None)
        try:
            with watch.time("boot, imports included"):
                target.start(instrumentation, frozenset())
            measure(target, watch, rounds)
            pids = target.pids
            before = cpu_s(pids)
            time.sleep(IDLE_S)
            idle = (cpu_s(pids) - before) / IDLE_S
        finally:
            target.stop()
    console = Console()
    console.print(watch.table())
    console.print(f"idle: {idle:.1%} of a core for {len(pids)} processes, over {IDLE_S:.0f} s")


if __name__ == "__main__":
    main()
