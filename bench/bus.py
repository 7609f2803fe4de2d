"""Latency of the message bus, and what an idle broker costs.

python bench/bus.py
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from targets.reference.bus import Bus
from targets.reference.config import bus_token

SECRET = "-"
ROUNDS = 2000
IDLE_S = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory))


def measure(run_dir: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    broker = _broker(address, run_dir)
    token = bus_token(SECRET)
    producer, consumer = Bus(address, token), Bus(address, token)
    try:
        arrived, stamps = threading.Semaphore(0), []

        def take(body: dict[str, int]) -> None:
            stamps.append(time.perf_counter_ns() - body["at_ns"])
            arrived.release()

        consumer.consume("cast", take)
        consumer.consume("echo", lambda body: body)
        confirmed, round_trip = [], []
        for _ in range(ROUNDS):
            begun = time.perf_counter_ns()
            producer.publish("cast", {"at_ns": begun})
            confirmed.append(time.perf_counter_ns() - begun)
            arrived.acquire()
        for _ in range(ROUNDS):
            begun = time.perf_counter_ns()
            producer.call("echo", {})
            round_trip.append(time.perf_counter_ns() - begun)
        _row("cast: sent to handled", stamps)
        _row("cast: sent to confirmed", confirmed)
        _row("call: there and back", round_trip)
        before = _cpu_s(broker.pid)
        time.sleep(IDLE_S)  # it is the idleness that is measured
        print(f"{'idle broker':26} {100 * (_cpu_s(broker.pid) - before) / IDLE_S:8.2f} % of a core")
    finally:
        producer.close()
        consumer.close()
        broker.send_signal(signal.SIGTERM)
        broker.wait()
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'peak memory':26} {peak_mib:8.1f} MiB")


def _broker(address: str, run_dir: Path) -> subprocess.Popen[bytes]:
    notify = run_dir / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(notify))
        broker = subprocess.Popen(
            [sys.executable, "-c", "from targets.reference.bus.server import main; main()"],
            env={
                **os.environ,
                "REFERENCE_SERVICE": "bus",
                "REFERENCE_RUN_DIR": str(run_dir),
                "REFERENCE_TOKEN_SECRET": SECRET,
                "REFERENCE_BUS": address,
                "NOTIFY_SOCKET": str(notify),
            },
        )
        ready.recv(64)
    return broker


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(what: str, samples_ns: list[int]) -> None:
    ordered = sorted(samples_ns)
    median, late = statistics.median(ordered) / 1e6, ordered[len(ordered) * 99 // 100] / 1e6
    print(f"{what:26} p50 {median:6.3f} ms   p99 {late:6.3f} ms")


if __name__ == "__main__":
    main()
