"""A summary table in GitHub-flavoured Markdown, for the summary page of a CI job."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.journal import Journal, Trial
from reports.summary import Summary, expectation, reason, verdict
from reports.text import first_line, printable

ROWS = 300
"""Rows at most: a GitHub job summary may have 1 MiB."""

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&@$])")


def render(journal: Journal, output: Path) -> None:
    """Write the run as a Markdown table to ``output``, unexpected verdicts first."""
    summary = Summary.of(journal)
    output.write_text(printable("\n".join(_lines(summary))) + "\n", encoding="utf-8")


def _lines(summary: Summary) -> list[str]:
    lines = [f"### {'✅' if summary.ok else '❌'} {summary.headline}", ""]
    lines += [f"- left over: {_escaped(found)}" for found in summary.residues]
    if summary.residues:
        lines.append("")
    if not summary.trials:
        return lines
    lines += [
        f"{len(summary.trials)} trials, {summary.rounds} rounds, {summary.duration_s:.1f} s on "
        + ", ".join(_escaped(target) for target in summary.targets),
        "",
        "| | plan | bug switch | verdict | rounds | seconds | reason |",
        "|---|---|---|---|--:|--:|---|",
    ]
    ordered = sorted(summary.trials, key=lambda trial: trial.as_expected)
    lines += [_row(trial) for trial in ordered[:ROWS]]
    if len(ordered) > ROWS:
        lines += ["", f"… and {len(ordered) - ROWS} more, in the journal."]
    if summary.unexpected:
        commands = [trial.reproduce for trial in summary.unexpected[:ROWS]]
        lines += ["", "Reproduce:", "", *_fenced("\n".join(commands))]
    return lines


def _row(trial: Trial) -> str:
    word = verdict(trial)
    if not trial.as_expected:
        word = f"**{word}**, expected {_escaped(expectation(trial))}"
    cells = (
        "✅" if trial.as_expected else "❌",
        _escaped(trial.plan),
        _escaped(trial.bug) or "-",
        word,
        str(trial.rounds),
        "-" if trial.duration_s is None else f"{trial.duration_s:.2f}",
        _escaped(first_line(reason(trial))),
    )
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", first_line(printable(text)))


def _fenced(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", text, fence]
