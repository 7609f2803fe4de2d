"""What the command line tells of the trials of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.journal import Trial, grouped
from chaos.terminal import marks, plain

TOLD = 100
"""How many unexpected trials, and commands, are printed at most; the report has them all."""


def _mark(trial: Trial) -> str:
    good, bad, skipped = marks()
    if trial.skipped:
        return f"[dim]{skipped}[/]"
    return f"[green]{good}[/]" if trial.as_expected else f"[red]{bad}[/]"


def line(trial: Trial) -> str:
    """One trial that has just ended, as markup."""
    rounds = f", {trial.rounds} rounds" if trial.rounds > 1 else ""
    bug = plain(f"[{trial.bug}]") if trial.bug else ""
    told = f": {plain(why)}" if (why := _beside(trial)) else ""
    took = f"({trial.duration_s or 0:.2f} s{rounds})"
    return f"{_mark(trial)} {plain(trial.title_of_case)}{bug}: {_verdict(trial)} {took}{told}"


def _verdict(trial: Trial) -> str:
    """The verdict, and in words how it relates to the expected one."""
    verdict = trial.verdict or "none"
    if trial.skipped:
        return verdict
    if trial.verdict != trial.expected:
        return f"[red]{verdict}[/], expected {trial.expected}"
    if not trial.as_expected:
        return f"[red]{verdict}[/] of the wrong invariant"
    return f"{verdict}, as it must" if trial.bug else verdict


def _beside(trial: Trial) -> str:
    """What is told beside the verdict: the note, and why it was skipped."""
    return "; ".join(filter(None, (trial.reason if trial.skipped else "", trial.note)))


def tell(
    out: Console, trials: Sequence[Trial], residues: Sequence[str], written: Sequence[Path]
) -> None:
    """Print a table of all trials, what was unexpected in some, and where the results are."""
    groups = grouped(trials)
    table = Table(box=None, pad_edge=False, header_style="bold")
    counted = ("trials",) if len(groups) < len(trials) else ()
    for column in ("", "plan", "bug switch", "verdict", *counted, "rounds", "seconds"):
        right = column in {"trials", "rounds", "seconds"}
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for group in groups:
        trial = group.first
        table.add_row(
            _mark(trial), plain(trial.title_of_case), plain(trial.bug or "off"), _verdict(trial),
            *(str(len(group)) for _ in counted), str(group.rounds), f"{group.duration_s or 0:.2f}",
        )  # fmt: skip
    out.print(table)
    for group in groups:
        if told := _beside(group.first):
            name = f"[bold]{plain(group.first.title_of_case)}[/]"
            out.print(f"{name}: {plain(told)}", highlight=False, soft_wrap=True)
    unexpected = [trial for trial in trials if trial.unexpected]
    for trial in unexpected[:TOLD]:
        name = f"[bold]{plain(trial.title_of_case)}[/]"
        out.print(f"\n{name} is not as expected: {trial.verdict}", highlight=False)
        for violation in trial.expected_violations:
            if violation not in trial.violated:
                out.print(f"  `{plain(violation)}` should have been violated")
        out.print(plain(trial.reason), highlight=False, soft_wrap=True)
    if len(unexpected) > TOLD:
        out.print(f"\n… and {len(unexpected) - TOLD} more that are not as expected")
    # All of them are in the report; where nothing is wrong, one shows how.
    again = [trial.reproduce for trial in unexpected] or [trial.reproduce for trial in trials[-1:]]
    if again:
        out.print("\n[bold]run one again[/]")
    for command in list(dict.fromkeys(again))[:TOLD]:
        out.print(f"  {plain(command)}", highlight=False, soft_wrap=True)
    for found in residues:
        out.print(f"[red]left behind:[/] {plain(found)}", highlight=False, soft_wrap=True)
    paths = plain(" ".join(map(str, written)))
    out.print(f"\n[bold]results[/] {paths}", highlight=False, soft_wrap=True)
