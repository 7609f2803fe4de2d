"""How long a whole plan takes on a warm target, and how many a second several workers do.

python bench/plans.py [--target NAME] [--runs N] [--workers N] [PLAN ...]
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from chaos.engine.case import Case
from chaos.engine.session import Session
from chaos.journal import Journal
from chaos.language.loader import find, load

SUITES = Path(__file__).parents[1] / "suites"
HEADLINE = [
    SUITES / "delete_while_booting" / "delete-before-compute-claims.plan.yaml",
    SUITES / "restart_recovery" / "kill-compute-mid-reboot.plan.yaml",
    SUITES / "volume_detach" / "delay-bdm-deletion.plan.yaml",
]
RACE = SUITES / "delete_while_booting" / "race-two-deletes.plan.yaml"


def durations_ms(
    target: str, plans: Sequence[Path], runs: int, start: Barrier | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each run of each plan on one warm target; each round of a race is a run."""
    cases = [Case(source.plan, source=source) for path in find(plans) for source in load(path)]
    taken: dict[str, list[float]] = {case.name: [] for case in cases}
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "journal.sqlite") as journal,
        Session(target, journal) as session,
    ):
        # The first run of a kind pays for imports and connections. A race has rounds enough.
        repeats = {case.name: 1 if session.run(case).rounds > 1 else runs for case in cases}
        if start is not None:
            start.wait()
        for case in cases:
            for _ in range(repeats[case.name]):
                began = time.perf_counter()
                outcome = session.run(case)
                if outcome.verdict != "PASS":
                    raise SystemExit(f"{case.name}: {outcome.reason}")
                each = (time.perf_counter() - began) * 1000 / outcome.rounds
                taken[case.name] += [each] * outcome.rounds
    return taken


def _work(target: str, plans: Sequence[Path], runs: int, start: Barrier, done: object) -> None:
    taken = durations_ms(target, plans, runs, start)
    done.put(sum(map(len, taken.values())))  # type: ignore[attr-defined]


def plans_per_second(target: str, plans: Sequence[Path], runs: int, workers: int) -> float:
    """Runs of all workers together, each with a target of its own, divided by the time."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(workers + 1), context.Queue()
    processes = [
        context.Process(target=_work, args=(target, plans, runs, start, done))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    count = sum(done.get() for _ in processes)
    took_s = time.perf_counter() - began
    for process in processes:
        process.join()
    return float(count / took_s)


@click.command()
@click.argument("plans", nargs=-1, type=click.Path(path_type=Path))
@click.option("--target", default="reference", show_default=True)
@click.option("--runs", default=20, show_default=True)
@click.option("--workers", default=2, show_default=True)
def main(plans: Sequence[Path], target: str, runs: int, workers: int) -> None:
    """Measure PLANs; without any, the headline plans and, by itself, the headline race."""
    chosen = list(plans) or [*HEADLINE, RACE]
    table = Table("plan", "runs", "median ms", "p90 ms", "max ms", title=f"{target}, warm")
    console = Console()
    with console.status("one by one ..."):
        measured = durations_ms(target, chosen, runs)
    for name, taken in measured.items():
        taken.sort()
        figures = (statistics.median(taken), taken[int(len(taken) * 0.9)], taken[-1])
        table.add_row(name, str(len(taken)), *(f"{figure:.0f}" for figure in figures))
    console.print(table)
    together = (
        {"plans": list(plans)} if plans else {"plans": HEADLINE, "orders of the race": [RACE]}
    )
    for what, these in together.items():
        with console.status(f"{what}, on {workers} workers ..."):
            rate = plans_per_second(target, these, runs, workers)
        console.print(f"{rate:.1f} {what} a second on {workers} workers")


if __name__ == "__main__":
    main()
