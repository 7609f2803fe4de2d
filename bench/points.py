"""What a point costs a call: unarmed, armed for someone else, recording, and beside a mock.

Run by hand: ``python bench/points.py``. One service process is measured, the controller lives in
this one. Figures are nanoseconds a call, the fastest of seven repetitions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from unittest.mock import patch

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.point import Point, When


def plain(value: int) -> int:
    return value


def point(value: int) -> int:
    return value


def current_request() -> str:
    return "req-1"


def measure(name: str, calls: int) -> float:
    """Nanoseconds a call, the empty loop taken off."""
    function = globals()[name]

    def empty_ns() -> int:
        began = time.perf_counter_ns()
        for _ in range(calls):
            pass
        return time.perf_counter_ns() - began

    def loop_ns() -> int:
        began = time.perf_counter_ns()
        for _ in range(calls):
            function(1)
        return time.perf_counter_ns() - began

    loop_ns()
    return (min(loop_ns() for _ in range(7)) - min(empty_ns() for _ in range(7))) / calls


def serve() -> None:
    """The measured process: one line in (function, calls), one line out (nanoseconds)."""
    for line in sys.stdin:
        name, calls = line.split()
        if name == "mock":
            with patch(f"{__name__}.plain", wraps=plain):
                took = measure("plain", int(calls))
        else:
            took = measure(name, int(calls))
        print(took, flush=True)


def main() -> None:
    with (
        Controller(label="bench", request_id_reader="__main__:current_request") as controller,
        subprocess.Popen(
            [sys.executable, __file__, "measured"],
            env={**os.environ, **controller.environment("bench")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as service,
    ):
        assert service.stdin is not None
        assert service.stdout is not None

        def row(title: str, name: str, calls: int = 200_000) -> None:
            assert service.stdin is not None
            assert service.stdout is not None
            service.stdin.write(f"{name} {calls}\n")
            service.stdin.flush()
            print(f"{title:44}{float(service.stdout.readline()):>12,.0f}")

        print(f"{'':44}{'ns a call':>12}")
        row("plain call", "plain")
        where = Point("__main__:point")
        controller.arm(where, When.BEFORE, Action.record(), times=None).disarm()
        row("point, armed once and disarmed", "point")
        with_filter = controller.arm(
            where, When.BEFORE, Action.record(), requests=("req-2",), times=None
        )
        row("point, armed for another request", "point")
        with_filter.disarm()
        recording = controller.arm(where, When.BEFORE, Action.record(), times=None)
        row("point, recording every call", "point", 2_000)
        recording.disarm()
        controller.arm(where, When.BEFORE, Action.record(), times=10**9)
        row("point, recording, each hit counted and acknowledged", "point", 1_000)
        controller.disarm_all()
        row("unittest.mock.patch(wraps)", "mock", 20_000)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["measured"] else main()
