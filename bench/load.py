"""Servers created and deleted by many clients at once: how fast, what is left, who grows.

python bench/load.py [--servers 500] [--clients 8] [--scaled]

Exit status 1 when anything is left over (invariant 13), an operation failed, or a service holds
over 10 MiB more after the last servers than after the first fifth of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.operation import Scope
from chaos.target import Instrumentation
from targets.embedded.target import Embedded, Scaled

MOST_GROWTH_MIB = 10.0
Memory = dict[str, float]


class Latencies:
    """Milliseconds by operation, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.found: dict[str, list[float]] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        with self._lock:
            self.found.setdefault(name, []).append((time.perf_counter() - began) * 1e3)


def live(target: Embedded, scope: Scope, name: str, latencies: Latencies) -> None:
    """Let one server come and go."""

    def run(operation: str, *arguments: str, **named: str) -> None:
        with latencies.time(operation):
            target.operations[operation].function(scope, *arguments, **named)

    with latencies.time("a server's life"):
        run("server.create", name, wait="")
        run("server.wait", name, "ACTIVE")
        run("server.delete", name)
        run("server.wait_gone", name)


def memory_mib(target: Embedded) -> Memory:
    """What each service holds for itself (resident, not shared)."""
    found = {}
    for name, service in target.services.items():
        status = Path(f"/proc/{service.pid}/status").read_text()
        found[name] = int(status.split("RssAnon:")[1].split()[0]) / 1024
    return found


def records(target: Embedded) -> set[object]:
    """All that is there, but what tells of the past."""
    world = target.observe()
    tables = [table.name for table in fields(world) if table.name not in world.past]
    return {record for table in tables for record in getattr(world, table)}


def measure(target: Embedded, servers: int, clients: int) -> tuple[Latencies, float, list[Memory]]:
    """Let the servers come and go; return latencies, seconds, and memory early and late."""
    latencies, numbers, marks = Latencies(), count(), list[Memory]()
    client = target.client()

    def work() -> None:
        while (number := next(numbers)) < servers:
            request = target.new_request_id()
            live(target, Scope(client, request_id=request, deadline_s=60), f"vm{number}", latencies)
            if number in (servers // 5, servers - 1):
                marks.append(memory_mib(target))

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work) for _ in range(clients)]:
            done.result()
    took_s = time.perf_counter() - began
    target.settle(60)
    return latencies, took_s, marks


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--servers", type=int, default=500)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--scaled", action="store_true", help="two APIs and two conductors")
    given = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="load-") as run_dir:
        target = Scaled() if given.scaled else Embedded()
        instrumentation = Instrumentation("load", Path(run_dir), lambda _: {}, lambda *_: None)
        try:
            target.start(instrumentation, frozenset())
            before = records(target)
            latencies, took_s, marks = measure(target, given.servers, given.clients)
            left = sorted(map(str, records(target) - before))
        finally:
            target.stop()
    table = Table("operation", "n", "p50 ms", "p99 ms", title=f"{given.clients} clients")
    for name, found in latencies.found.items():
        late = sorted(found)[len(found) * 99 // 100]
        table.add_row(name, str(len(found)), f"{statistics.median(found):.1f}", f"{late:.1f}")
    console.print(table)
    table = Table("service", "MiB early", "MiB at the end")
    early, last = marks
    for name in early:
        table.add_row(name, f"{early[name]:.1f}", f"{last[name]:.1f}")
    console.print(table)
    grown = max(last[name] - early[name] for name in early)
    console.print(f"{given.servers / took_s:.1f} servers a second, {len(left)} records left over")
    for record in left[:10]:
        console.print(f"left over: {record}")
    console.print(f"the service that grew most grew by {grown:.1f} MiB")
    sys.exit(bool(left) or grown > MOST_GROWTH_MIB)


if __name__ == "__main__":
    main()
