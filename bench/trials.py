"""What a trial costs when thousands ran before it, and what their journal and reports weigh.

python bench/trials.py [--trials N] [--target NAME|MODULE:FUNCTION] [--results DIR] [PLAN]

Exit status 1 when the last tenth of the trials costs over 10 % more than the first, or the journal
is larger than 100 MB.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from chaos.engine.case import Case
from chaos.engine.session import Session
from chaos.journal import Journal
from chaos.journal.results import FILES, JOURNAL, begin
from chaos.language import catalogue
from chaos.language.loader import load

PLAN = Path(__file__).parents[1] / "tests/ledger/crash-between-debit-and-credit.plan.yaml"
WARM_UP = 20
"""Trials that pay for imports, connections and the file system's first blocks."""
MOST_GROWTH = 0.10
MOST_BYTES = 100_000_000


def costs_ms(journal: Journal, target: str, plan: Path, trials: int) -> list[tuple[float, float]]:
    """Milliseconds of each trial, and how many of them this process computed."""
    source = load(plan)[0]
    case = Case(source.plan, source=source)
    costs = []
    with Session(target or source.plan.target, journal) as session:
        for number in range(WARM_UP + trials):
            began, computed = time.perf_counter(), time.process_time()
            outcome = session.run(case)
            took = time.perf_counter() - began, time.process_time() - computed
            if outcome.verdict != "PASS":
                raise SystemExit(f"trial {number}: {outcome.verdict}: {outcome.reason}")
            costs.append((took[0] * 1000, took[1] * 1000))
    return costs[WARM_UP:]


def tenths(costs: Sequence[tuple[float, float]]) -> dict[str, Sequence[tuple[float, float]]]:
    """The first, the middle and the last tenth of them."""
    size = max(1, len(costs) // 10)
    middle = (len(costs) - size) // 2
    return {
        "first": costs[:size],
        "middle": costs[middle : middle + size],
        "last": costs[-size:],
    }


@click.command()
@click.argument("plan", type=click.Path(path_type=Path), default=PLAN)
@click.option("--target", default="", help="Default: the plan's own.")
@click.option("--trials", default=10_000, show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="Keep the results here."
)
def main(plan: Path, target: str, trials: int, results: Path | None) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = results or Path(scratch)
        with begin(folder) as journal:
            found = {
                name: tuple(map(statistics.median, zip(*costs, strict=True)))
                for name, costs in tenths(costs_ms(journal, target, plan, trials)).items()
            }
            table = Table("tenth", "median ms", "of them here", title=f"{trials:,} trials")
            for name, figures in found.items():
                table.add_row(name, *(f"{figure:.2f}" for figure in figures))
            console.print(table)

            table = Table("file", "MB", "seconds to write")
            for kind in catalogue.reports():
                path = folder / FILES.get(kind, f"report.{kind}")
                began = time.perf_counter()
                catalogue.report(kind)(journal, path)
                took_s = time.perf_counter() - began
                table.add_row(path.name, f"{path.stat().st_size / 1e6:.2f}", f"{took_s:.2f}")
        size = (folder / JOURNAL).stat().st_size
        table.add_row(JOURNAL, f"{size / 1e6:.2f}", "")
        console.print(table)
    growth = found["last"][0] / found["first"][0] - 1
    console.print(f"the last tenth costs {growth:+.1%} of the first, here {_here(found):+.1%}")
    sys.exit(growth > MOST_GROWTH or size > MOST_BYTES)


def _here(found: dict[str, tuple[float, ...]]) -> float:
    return found["last"][1] / found["first"][1] - 1


if __name__ == "__main__":
    main()
