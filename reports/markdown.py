"""A summary table in GitHub-flavoured Markdown, for the summary page of a CI job."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.journal import Group, Journal
from reports.summary import SYMBOLS, Summary, expectation, reason, state, verdict
from reports.text import first_line, printable

ROWS = 300
"""Rows at most: a GitHub job summary may have 1 MiB."""

_MARKS = {"✓": "✅", "✗": "❌"}
"""Where GitHub has a coloured one."""

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&@$])")


def render(journal: Journal, output: Path) -> None:
    """Write the run as a Markdown table to ``output``, unexpected verdicts first."""
    summary = Summary.of(journal)
    output.write_text(printable("\n".join(_lines(summary))) + "\n", encoding="utf-8")


def _lines(summary: Summary) -> list[str]:
    lines = [f"### {_mark(summary.state)} {summary.headline}", ""]
    lines += [f"- left over: {_escaped(found)}" for found in summary.residues]
    if summary.residues:
        lines.append("")
    if not summary.trials:
        return lines
    lines += [
        f"{len(summary.trials):,} trials, {summary.rounds:,} rounds, {summary.duration_s:.1f} s on "
        + ", ".join(_escaped(target) for target in summary.targets),
        "",
        "| | plan | bug switch | verdict | trials | rounds | seconds | reason |",
        "|---|---|---|---|--:|--:|--:|---|",
    ]
    ordered = sorted(summary.groups, key=lambda group: not group.first.unexpected)
    lines += [_row(group) for group in ordered[:ROWS]]
    if len(ordered) > ROWS:
        lines += ["", f"… and {len(ordered) - ROWS} more, in the journal."]
    if summary.unexpected:
        commands = [trial.reproduce for trial in summary.unexpected[:ROWS]]
        lines += ["", "Reproduce:", "", *_fenced("\n".join(commands))]
    return lines


def _row(group: Group) -> str:
    trial = group.first
    word = verdict(trial)
    if trial.unexpected:
        word = f"**{word}**, expected {_escaped(expectation(trial))}"
    told = (first_line(reason(trial)), first_line(trial.note))
    cells = (
        _mark(state(trial)),
        _escaped(trial.title_of_case),
        _escaped(trial.bug) or "-",
        word,
        str(len(group)),
        str(group.rounds),
        "-" if group.duration_s is None else f"{group.duration_s:.2f}",
        _escaped("; ".join(filter(None, told))),
    )
    return f"| {' | '.join(cells)} |"


def _mark(state: str) -> str:
    return _MARKS.get(SYMBOLS[state], SYMBOLS[state])


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", first_line(printable(text)))


def _fenced(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]
