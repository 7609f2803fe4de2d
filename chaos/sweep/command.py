"""`chaos sweep`: progress, the certificate, and what somebody must look at."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from chaos import terminal
from chaos.errors import ChaosError, nearest
from chaos.journal.results import begin, finish
from chaos.language.catalogue import CatalogueError, default_target, suites, vocabulary
from chaos.sweep.certificate import Certificate, Entry, Status
from chaos.sweep.sweep import Sweep, target_of, workloads

ENTRIES = "entries.jsonl"
CERTIFICATE = "certificate.json"
READABLE = "certificate.md"
TOLD = 50
"""How many places are printed at most; the certificate has them all."""


def sweep(
    wanted: Sequence[str],
    target: str,
    results: Path,
    *,
    workers: int,
    depth: int,
    points: str,
    bug: str,
    resume: bool,
) -> int:
    """Sweep, and tell of it; the exit status of the command.

    Raises:
        ChaosError: there is no such workload, switch or target, or one does not pass by itself.
    """
    plans = workloads(wanted, _installed(target))
    name = target or target_of(plans) or default_target()
    words = vocabulary(name)
    if bug and bug not in words.target.bugs:
        raise ChaosError(f"there is no bug switch `{bug}`; {nearest(bug, words.target.bugs)}")
    certificate = Certificate(results / ENTRIES, name, depth, bug)
    out, err = terminal.console(), terminal.console(stderr=True)
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True,
    )  # fmt: skip
    task = progress.add_task(f"{len(plans)} workloads", total=None)

    def told(total: int, entry: Entry | None) -> None:
        progress.update(task, total=total, advance=0 if entry is None else 1)
        if entry is not None and entry.is_red:
            progress.console.print(_line(entry), highlight=False, soft_wrap=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    work = Sweep(
        name, plans, results, certificate, workers=workers, depth=depth, bug=bug, points=points,
        on_progress=told,
    )  # fmt: skip
    with begin(results, run=work.run_id) as journal:
        certificate.begin(resume=resume)
        try:
            with progress:
                work.run(journal)
        except KeyboardInterrupt:
            interrupted = True
            journal.residue(f"interrupted: {len(certificate.entries)} places were done")
        certificate.write(results / CERTIFICATE, results / READABLE)
        written = [results / CERTIFICATE, results / READABLE, *finish(journal, results)]
        residues = journal.residues()
    out.print(_table(certificate))
    for entry in certificate.red[:TOLD]:
        out.print(_told(entry), highlight=False, soft_wrap=True)
    for workload, reason in certificate.left_out.items():
        out.print(
            f"\n{terminal.plain(workload)} was left out: {terminal.plain(reason)}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    for workload in certificate.proved_nothing:
        out.print(
            f"\n[red]{terminal.plain(workload)}: no crash was seen, which proves nothing[/]",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    for found in residues:
        out.print(f"[red]left behind:[/] {terminal.plain(found)}", highlight=False, soft_wrap=True)
    paths = terminal.plain(" ".join(map(str, written)))
    out.print(f"\n[bold]results[/] {paths}", highlight=False, soft_wrap=True)
    if interrupted:
        out.print("go on with the same command and --resume", highlight=False)
        return terminal.INTERRUPTED
    if not certificate.entries:
        why = "" if certificate.left_out else f": no workload passes a point like `{points}`"
        raise ChaosError(f"nothing was swept{why}")
    return 1 if certificate.red or certificate.proved_nothing or residues else 0


def _installed(target: str) -> Path | None:
    try:
        return suites(target or default_target())
    except CatalogueError:
        return None


def _line(entry: Entry) -> str:
    _, bad, _ = terminal.marks()
    what = ", ".join(entry.violated) or entry.reason.partition("\n")[0]
    where = terminal.plain(f"{entry.workload}: {' then '.join(entry.places)}")
    return f"[red]{bad}[/] {where}: {entry.verdict} {terminal.plain(what)}"


def _told(entry: Entry) -> str:
    again = f"\n  {shlex.join(['chaos', 'run', entry.plan])}" if entry.plan else ""
    return f"\n{_line(entry)}\n{terminal.plain(entry.reason + again)}"


def _table(certificate: Certificate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("PASS", "FAIL", Status.UNREACHABLE.value, Status.BROKEN.value)
    table.add_column("workload", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for workload, counts in certificate.counts().items():
        table.add_row(terminal.plain(workload), *(str(counts[column]) for column in columns))
    return table
