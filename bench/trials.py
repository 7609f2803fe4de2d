"""What a trial costs when thousands ran before it, and what their journal and reports weigh.

python bench/trials.py [--trials N] [--target NAME|MODULE:FUNCTION] [--results DIR] [PLAN]

Exit status 1 when a trial of the middle or the last tenth costs this process over 10 % more than
one of the first, or the journal is larger than 100 MB. Judged is what this process computes in the
quickest trials: how long a trial takes is also the machine's doing, which changes in an hour.
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
from chaos.plan import Plan, inject, step

PLAN = Plan(
    name="delay-amid-a-move",
    title="a parcel is on its way for a bit longer",
    target="tests.tiny.tiny:target",
    given=[step("parcel.make", name="parcel", place="here")],
    during=[step("parcel.move", parcel="parcel", to="there")],
    inject=[inject("delay", at="before usage.give", seconds=0.001)],
    then=[step("parcel.expect", parcel="parcel", place="there")],
)
WARM_UP = 20
"""Trials that pay for imports, connections and the file system's first blocks."""
MOST_GROWTH = 0.10
MOST_BYTES = 100_000_000


def costs_ms(journal: Journal, case: Case, target: str, trials: int) -> list[tuple[float, float]]:
    """Milliseconds of each trial, and how many of them this process computed."""
    costs = []
    with Session(target or case.plan.target, journal) as session:
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


def figures(costs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Medians of what a trial takes and of what is computed here; the least tenth of the latter."""
    took, here = (sorted(each) for each in zip(*costs, strict=True))
    return statistics.median(took), statistics.median(here), here[len(here) // 10]


@click.command()
@click.argument("plan", required=False, type=click.Path(path_type=Path))
@click.option("--target", default="", help="Default: the plan's own.")
@click.option("--trials", default=10_000, show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="Keep the results here."
)
def main(plan: Path | None, target: str, trials: int, results: Path | None) -> None:
    source = load(plan)[0] if plan else None
    case = Case(source.plan, source=source) if source else Case(PLAN)
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = results or Path(scratch)
        with begin(folder) as journal:
            costs = costs_ms(journal, case, target, trials)
            found = {name: figures(each) for name, each in tenths(costs).items()}
            table = Table("tenth", "median ms", "here", "quickest here", title=f"{trials:,} trials")
            for name, told in found.items():
                table.add_row(name, *(f"{figure:.2f}" for figure in told))
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
    growth = max(found["middle"][-1], found["last"][-1]) / found["first"][-1] - 1
    console.print(f"a trial costs at most {growth:+.1%} of what one of the first tenth did")
    sys.exit(growth > MOST_GROWTH or size > MOST_BYTES)


if __name__ == "__main__":
    main()
