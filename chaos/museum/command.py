"""`chaos museum`: run each bug with its plans on several workers, and write the kill matrix."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chaos import terminal
from chaos.engine.case import Case
from chaos.errors import ChaosError, nearest
from chaos.journal import Journal
from chaos.journal.kills import exhibits, kills
from chaos.journal.results import absorb_parts, begin, finish
from chaos.language.catalogue import Vocabulary, default_target, suites, vocabulary
from chaos.language.loader import Source, find, load, unique
from chaos.museum.catalogue import Catalogue
from chaos.sweep import worker

MATRIX = "museum.json"
READABLE = "museum.md"


def museum(
    wanted: Sequence[str],
    paths: Sequence[Path],
    target: str,
    results: Path,
    *,
    times: int,
    off: int,
    workers: int,
    every: bool,
) -> int:
    """Run the switches ``wanted`` (default: all), and tell of it; the exit status of the command.

    Each runs ``times`` times with each plan, and each plan ``off`` times with all switches off.

    Raises:
        ChaosError: there is no such switch, plan or target.
    """
    name = target or default_target()
    words = vocabulary(name)
    for bug in wanted:
        if bug not in words.target.bugs:
            raise ChaosError(f"there is no bug switch `{bug}`; {nearest(bug, words.target.bugs)}")
    switches = {b: told for b, told in words.target.bugs.items() if not wanted or b in wanted}
    sources = [
        source
        for source in unique(s for path in find(paths or [suites(name)]) for s in load(path))
        if target or source.target in ("", name)
    ]
    cases = [
        case
        for case in _cases(sources, switches, words, every=every)
        for _ in range(times if case.bug else off)
    ]
    out, err = terminal.console(), terminal.console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_id = uuid.uuid4().hex
    interrupted = False
    with begin(results, run=run_id) as journal:
        try:
            with Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True,
            ) as progress:  # fmt: skip
                task = progress.add_task(f"{len(switches)} switches", total=len(cases))
                for _ in _run(cases, name, results, run_id, workers, journal):
                    progress.advance(task)
        except KeyboardInterrupt:
            interrupted = True
            journal.residue("interrupted: what was not run by then is missing")
        trials = journal.trials()
        found = {exhibit.bug: exhibit for exhibit in exhibits(trials)}
        clean = tuple(kill for kill in kills(trials) if not kill.bug)
        catalogue = Catalogue(name, switches, found, clean)
        catalogue.write(results / MATRIX, results / READABLE)
        written = [results / MATRIX, results / READABLE, *finish(journal, results)]
        residues = journal.residues()
    out.print("\n".join(catalogue.markdown()), markup=False, highlight=False, soft_wrap=True)
    for left in residues:
        out.print(f"[red]left behind:[/] {terminal.plain(left)}", highlight=False, soft_wrap=True)
    paths_told = terminal.plain(" ".join(map(str, written)))
    out.print(f"\n[bold]results[/] {paths_told}", highlight=False, soft_wrap=True)
    if interrupted:
        return terminal.INTERRUPTED
    return 1 if catalogue.escaped or catalogue.false_alarms or residues else 0


def _cases(
    sources: Iterable[Source], switches: Iterable[str], words: Vocabulary, *, every: bool
) -> Iterator[Case]:
    """Each plan by itself and with each switch: those that it names, or with ``every`` all."""
    for source in sources:
        source.bind(words)
        own = [bug for bug in switches if bug in source.plan.bugs]
        if own or every:
            yield Case(source.plan, "", source)
        for bug in switches:
            if bug in own or every:
                yield Case(source.plan, bug, source, is_open=bug not in own)


def _run(
    cases: Sequence[Case], target: str, results: Path, run: str, workers: int, journal: Journal
) -> Iterator[None]:
    """Run the cases; those of a plan and switch one after another, where a worker can.

    Raises:
        ChaosError: a worker's target does not start, or a worker was killed.
    """
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), worker.start, (target, results, run, os.getpid())
    )
    # A switch that goes on or off restarts services: those with one switch follow each other.
    ordered = sorted(cases, key=lambda case: (case.bug, case.plan.title_of_case))
    try:
        for done in as_completed([pool.submit(worker.run, case) for case in ordered]):
            done.result()
            yield
    except BrokenProcessPool:
        raise ChaosError("a worker was killed, by somebody or for want of memory") from None
    finally:
        pool.shutdown(cancel_futures=True)
        absorb_parts(journal, results, run)
