"""`chaos run`: cases with progress, the reports, the table."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaos import terminal
from chaos.cli.options import err, out, results_option, target_option, tells_errors
from chaos.errors import ChaosError

if TYPE_CHECKING:
    from chaos.engine.case import Case
    from chaos.journal import Trial
    from chaos.plan import Schedules


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PLAN|FOLDER]...")
@target_option
@results_option
@click.option("--plan", "only", multiple=True, metavar="NAME", help="Only this plan; repeatable.")
@click.option(
    "--bug", "bugs", multiple=True, metavar="SWITCH",
    help="Only with this bug switch on; repeatable. Default: off, then each switch of the plan.",
)  # fmt: skip
@click.option("--no-bugs", is_flag=True, help="Only with all bug switches off.")
@click.option(
    "--case", "only_cases", multiple=True, metavar="NAME", help="Only this case of a matrix."
)
@click.option(
    "--schedule", default="", metavar="'A B ...'",
    help="Only this schedule: the choices, as a report tells them.",
)  # fmt: skip
@click.option(
    "--schedules", default="", metavar="WHICH",
    help="Other schedules than the plan says: all, a number, '{random: 100, seed: 7}', "
    "'{pct: 100}', '{every: 500}'.",
)  # fmt: skip
@click.option(
    "--sample", default=0, metavar="N",
    help="Beside the schedules that make a difference, run N random ones as a check.",
)  # fmt: skip
@click.option("--require", is_flag=True, help="A case that the target cannot run is red.")
@click.option("--keep", is_flag=True, help="Keep the run directory (logs, databases).")
@tells_errors
def run(
    paths: Sequence[Path],
    target: str,
    results: Path,
    only: Sequence[str],
    bugs: Sequence[str],
    no_bugs: bool,
    only_cases: Sequence[str],
    schedule: str,
    schedules: str,
    sample: int,
    require: bool,
    keep: bool,
) -> None:
    """Run plans and write journal, HTML report and JUnit file.

    Each plan runs with all bug switches off, which must PASS, and with each of its bug switches
    on, which must FAIL and name the defect. Exit status 0 only if every verdict is as expected.
    Without PLAN or FOLDER, runs all plans that are installed for the target.
    """
    from chaos.engine.case import cases, check_switches
    from chaos.errors import nearest
    from chaos.language.catalogue import default_target, suites
    from chaos.language.loader import find, load, unique

    sources = unique(
        source
        for path in find(paths or [suites(target or default_target())])
        for source in load(path)
    )
    names = {source.plan.name for source in sources}
    for name in only:
        if name not in names:
            raise ChaosError(f"there is no plan `{name}` in these files; {nearest(name, names)}")
    chosen = [source for source in sources if not only or source.plan.name in only]
    known_cases = {source.plan.case for source in chosen if source.plan.case}
    for name in only_cases:
        if name not in known_cases:
            raise ChaosError(f"there is no case `{name}` of a matrix; {nearest(name, known_cases)}")
    every = [
        case
        for source in chosen
        if not only_cases or source.plan.case in only_cases
        for case in cases(source, bugs=not no_bugs)
    ]
    check_switches(bugs, every)
    wanted = schedules_of(schedule, schedules)
    todo = [
        replace(case, schedules=wanted, sample=sample)
        for case in every
        if not bugs or case.bug in bugs
    ]
    sys.exit(run_cases(todo, target, results, keep=keep, require=require))


def schedules_of(schedule: str, which: str) -> Schedules | None:
    """What was asked for on the command line; None: what the plan says."""
    from chaos.language.loader import schedules

    if schedule and which:
        raise ChaosError("give either --schedule or --schedules")
    return (
        schedules([schedule] if schedule else which, "--schedules") if schedule or which else None
    )


def _by_target(todo: Iterable[Case], target: str) -> dict[str, list[Case]]:
    """The cases of each target, after every word of every plan was checked."""
    from chaos.language.catalogue import default_target, vocabulary

    grouped: dict[str, list[Case]] = {}
    for case in todo:
        name = target or case.target or default_target()
        case.bind(case.source.words(name) if case.source else vocabulary(name))
        grouped.setdefault(name, []).append(case)
    return grouped


def run_cases(
    todo: Sequence[Case],
    target: str,
    results: Path,
    *,
    keep: bool = False,
    require: bool = False,
) -> int:
    """Run cases with progress, write the reports, print the table; the exit status."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from chaos.engine.session import Session
    from chaos.journal.results import begin, finish
    from chaos.summary import line, tell

    grouped = _by_target(todo, target)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ran is to be told all the same
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"), TimeElapsedColumn(), console=err, transient=True,
    )  # fmt: skip

    def told(trial: Trial) -> None:
        progress.advance(task)
        progress.console.print(line(trial), highlight=False, soft_wrap=True)

    def run_all() -> None:
        for name, group in grouped.items():
            progress.update(task, description=f"starting {name}")
            session = Session(
                name,
                journal,
                on_round=lambda number, _: progress.update(
                    task, detail=f"round {number}" if number > 1 else ""
                ),
                on_trial=told,
                keep=keep,
                require=require,
            )
            with session:
                for case in group:
                    progress.update(task, description=case.name, detail="")
                    session.run(case)
                progress.update(task, description=f"stopping {name}", detail="")
            if keep:
                err.print(f"run directory kept: {session.run_dir}", markup=False, soft_wrap=True)

    task = progress.add_task("", total=len(todo), detail="")
    interrupted = False
    with begin(results) as journal:
        try:
            with progress:
                run_all()
        except KeyboardInterrupt:
            interrupted = True
            ran = progress.tasks[task].completed
            journal.residue(f"interrupted: {ran:.0f} of {len(todo)} cases were run to their end")
        written = finish(journal, results)
        trials = journal.trials()
        residues = journal.residues()
    tell(out, trials, residues, written)
    red = any(trial.unexpected for trial in trials)
    if interrupted:
        return terminal.INTERRUPTED
    return 1 if red or residues else 0
