"""`chaos rows`: what the plans are to show, which plans do, and how those ended last."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from chaos.cli.options import BAD, DEFAULT_RESULTS, GOOD, out, plain, tells_errors
from chaos.errors import ChaosError

if TYPE_CHECKING:
    from chaos.journal import Trial
    from chaos.language.loader import Source


@click.command(short_help="List the rows of a catalogue, their plans, and the last verdicts.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PLAN|FOLDER]...")
@click.option(
    "--results", "folders", multiple=True, type=click.Path(path_type=Path, file_okay=False),
    default=(DEFAULT_RESULTS,), show_default=True,
    help="Folder with the journal of the last run; repeatable, for several targets.",
)  # fmt: skip
@tells_errors
def rows(paths: Sequence[Path], folders: Sequence[Path]) -> None:
    """List every row of `rows.yaml`, its plans, and their last verdicts on each target.

    The file stands in the folder of the plans or the one above; without PLAN or FOLDER, the
    installed plans are looked at. Exit status 1 where a row has no plan.
    """
    from chaos.language.catalogue import default_target, suites
    from chaos.language.loader import find, load, unique
    from chaos.language.rows import FILE, file_for, rows_in

    files = find(paths or [suites(default_target())])
    sources = unique(source for file in files for source in load(file))
    titles: dict[str, str] = {}
    for listing in dict.fromkeys(filter(None, map(file_for, files))):
        titles |= rows_in(listing)
    if not titles:
        raise ChaosError(f"no {FILE} stands beside these plans, or in the folder above")
    plans = _plans_of(sources)
    ended = _last_verdicts(folders)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "row", "plan", "last verdict"):
        table.add_column(column, no_wrap=column != "last verdict")
    for row, title in titles.items():
        mark = f"[green]{GOOD}[/]" if row in plans else f"[red]{BAD}[/]"
        table.add_row(mark, f"[bold]{plain(row)}[/]", f"[dim]{plain(title)}[/]", "")
        for name, cases in plans.get(row, {}).items():
            told = f" [dim]({cases} cases)[/]" if cases > 1 else ""
            table.add_row("", "", f"  {plain(name)}{told}", ", ".join(ended.get(name, ["-"])))
    out.print(table)
    missing = [row for row in titles if row not in plans]
    if missing:
        listed = plain(", ".join(missing))
        out.print(f"\n[red]without a plan ({len(missing)}):[/] {listed}", highlight=False)
    else:
        out.print(f"\nevery one of {len(titles)} rows has a plan", highlight=False)
    sys.exit(1 if missing else 0)


def _plans_of(sources: Iterable[Source]) -> dict[str, dict[str, int]]:
    """Row → its plans → how many cases each has."""
    found: dict[str, dict[str, int]] = {}
    for source in sources:
        for row in source.plan.scenario:
            cases = found.setdefault(row, {})
            cases[source.plan.name] = cases.get(source.plan.name, 0) + 1
    return found


def _last_verdicts(folders: Iterable[Path]) -> Mapping[str, list[str]]:
    """Plan → what to say of it, a text for each target on which it ran."""
    from chaos.journal import Journal
    from chaos.journal.results import JOURNAL

    last: dict[tuple[str, str], dict[tuple[str, str], Trial]] = {}
    for folder in folders:
        if not (folder / JOURNAL).is_file():
            continue
        with Journal(folder / JOURNAL, readonly=True) as journal:
            for trial in journal.trials():
                kinds = last.setdefault((trial.plan, trial.target), {})
                kinds[trial.case, trial.bug] = trial
    found: dict[str, list[str]] = {}
    for (plan, target), kinds in last.items():
        found.setdefault(plan, []).append(f"{plain(target)}: {_told(list(kinds.values()))}")
    return found


def _told(trials: Sequence[Trial]) -> str:
    """``PASS``; with what is unexpected before everything else."""
    bad = [trial for trial in trials if trial.unexpected]
    if bad:
        verdicts = ", ".join(dict.fromkeys(trial.verdict or "none" for trial in bad))
        return f"[red]{verdicts}[/] in {len(bad)} of {len(trials)}"
    by_itself = [trial for trial in trials if not trial.bug] or trials
    verdicts = ", ".join(dict.fromkeys(trial.verdict or "none" for trial in by_itself))
    caught = sum(1 for trial in trials if trial.bug and not trial.skipped)
    return f"[green]{verdicts}[/]" + (f", catches {caught}" if caught else "")
