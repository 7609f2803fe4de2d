"""The report that an engineer opens in the morning: one HTML file that needs nothing else.

The page is complete without JavaScript; the script only filters, copies and shows tooltips. It
depends on the journal alone, so the same journal gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaos.history import Event, Kind
from chaos.journal import Group, Journal, Round, ServiceLog, Trial
from chaos.journal.kills import exhibits
from reports.link import LINK, address
from reports.sentence import sentence, sentences
from reports.summary import SYMBOLS, Summary, expectation, reason, state, verdict
from reports.text import first_line, printable, shortened
from reports.timeline import Timeline, around_fault, timeline

DETAILED_UNEXPECTED = 100
DETAILED_EXPECTED = 40
"""How many trials get a timeline, events and logs; the others keep verdict, plan and command."""
SECTIONS = 500
"""How many trials get a section, unexpected ones first; the others are a row of the table."""
EVENTS = 1000
"""Rows of one table of events, at most."""
ROUNDS = 200
"""Rows of one table of rounds, at most; those that are not PASS come before that limit."""
LINE = 2000
"""Characters of one cell, at most."""
LOG = 20_000
"""Characters of one side of a log, at most."""


def render(journal: Journal, output: Path) -> None:
    """Write the run as one self-contained HTML page to ``output``."""
    with output.open("w", encoding="utf-8") as file:
        file.writelines(page(journal, Summary.of(journal)))


def page(journal: Journal, summary: Summary) -> Iterator[str]:
    """The page on these trials of a journal, piece by piece."""
    groups = summary.groups
    shown = {group.first.id for group in _unexpected_first(groups)[:SECTIONS]}
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment()
        .get_template("report.html")
        .generate(
            summary=summary,
            lines=[
                (number, group, group.first.id in shown) for number, group in enumerate(groups, 1)
            ],
            sections=_sections(journal, groups, shown),
            left_off=len(groups) - len(shown),
            exhibits=exhibits(summary.trials),
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One event as a row of a table; ``at_ms`` since the round's start."""

    at_ms: float
    event: Event
    text: str


@dataclass(frozen=True, slots=True)
class Detail:
    """One round of a trial in full."""

    number: int
    round: Round | None
    pictures: tuple[tuple[str, Timeline], ...]
    rows: tuple[Row, ...]
    left_off: int
    violations: tuple[tuple[Event, tuple[str, ...]], ...]
    changes: tuple[tuple[Row, tuple[str, ...]], ...]
    logs: tuple[ServiceLog, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One trial, or several of a kind, as the page shows them.

    ``detail`` is None for the mass of them.
    """

    number: int
    group: Group
    rounds: tuple[Round, ...]
    detail: Detail | None

    @property
    def trial(self) -> Trial:
        """The one that is shown for all."""
        return self.group.first

    @property
    def seconds(self) -> tuple[float, float, float]:
        """How long the quickest, the median and the slowest of them took."""
        took = sorted(trial.duration_s or 0.0 for trial in self.group.trials)
        return took[0], median(took), took[-1]


def _sections(
    journal: Journal, groups: tuple[Group, ...], shown: Container[str]
) -> Iterator[Section]:
    detailed = _detailed(groups)
    for number, group in enumerate(groups, 1):
        trial = group.first
        if trial.id in shown:
            rounds = journal.rounds(trial.id)
            detail = _detail(journal, trial, rounds) if trial.id in detailed else None
            yield Section(number, group, rounds, detail)


def _unexpected_first(groups: tuple[Group, ...]) -> list[Group]:
    return sorted(groups, key=lambda group: not group.first.unexpected)


def _detailed(groups: tuple[Group, ...]) -> frozenset[str]:
    """The trials to show in full: the unexpected, and the first of the others."""
    unexpected = [group.first.id for group in groups if group.first.unexpected]
    others = [group.first.id for group in groups if not group.first.unexpected]
    return frozenset(unexpected[:DETAILED_UNEXPECTED] + others[:DETAILED_EXPECTED])


def _detail(journal: Journal, trial: Trial, rounds: tuple[Round, ...]) -> Detail:
    shown = round_to_show(journal, trial, rounds)
    number = shown.number if shown else trial.rounds + 1
    events = journal.events(trial.id, number)
    zero_ns = min((event.at_ns for event in events), default=0)
    rows = [Row((event.at_ns - zero_ns) / 1e6, event, sentence(event)) for event in events]
    told = _without_dense_hits(rows)
    return Detail(
        number=number,
        round=shown,
        pictures=tuple(_pictures(events)),
        rows=tuple(told[:EVENTS]),
        left_off=len(rows) - len(told[:EVENTS]),
        violations=tuple(
            (event, sentences(event, "evidence"))
            for event in events
            if event.kind is Kind.VIOLATION
        ),
        changes=tuple(
            (row, sentences(row.event, "changes")) for row in rows if row.event.kind is Kind.WORLD
        ),
        logs=journal.logs(trial.id, number),
    )


def round_to_show(journal: Journal, trial: Trial, rounds: tuple[Round, ...]) -> Round | None:
    """The round that the runner died in (None), else the first that is not PASS, else the first."""
    if trial.verdict is None and journal.events(trial.id, trial.rounds + 1):
        return None
    return next((each for each in rounds if each.verdict != "PASS"), rounds[0] if rounds else None)


def _without_dense_hits(rows: list[Row]) -> list[Row]:
    """Every row while there is room; else recorded hits go first, they are the picture's ticks."""
    if len(rows) <= EVENTS:
        return rows
    return [
        row
        for row in rows
        if row.event.kind is not Kind.HIT or row.event.data.get("action", "record") != "record"
    ]


def _pictures(events: tuple[Event, ...]) -> Iterator[tuple[str, Timeline]]:
    if not events:
        return
    near = around_fault(events)
    yield "Whole round", timeline(events)
    if near:
        yield "Around the fault", timeline(events, near)


# ---------------------------------------------------------------------- the page


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # The one gate that every value passes: no template can forget it.
        finalize=_finalized,
    )
    environment.filters |= {
        "verdict": verdict,
        "state": state,
        "symbol": _symbol,
        "reason": reason,
        "expectation": expectation,
        "linked": _linked,
        "first_line": first_line,
        "cell": lambda text: shortened(text, LINE),
        "log": lambda text: shortened(printable(text), LOG),
        "unequal_first": _unequal_first,
    }
    return environment


def _symbol(trial: Trial) -> str:
    return SYMBOLS[state(trial)]


def _finalized(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _unequal_first(rounds: tuple[Round, ...]) -> tuple[Round, ...]:
    """At most ROUNDS rounds in order, those that are not PASS in any case among them."""
    if len(rounds) <= ROUNDS:
        return rounds
    chosen = sorted(rounds, key=lambda each: each.verdict == "PASS")[:ROUNDS]
    return tuple(sorted(chosen, key=lambda each: each.number))


def _linked(text: str) -> Markup:
    """``text`` with links to the Launchpad bugs (``LP#123``) and addresses that it names."""
    parts, end = [], 0
    for found in LINK.finditer(text):
        parts.append(Markup("{}").format(printable(text[end : found.start()])))
        leads_to, words = printable(address(found)), printable(found[0])
        parts.append(Markup('<a href="{}">{}</a>').format(leads_to, words))
        end = found.end()
    return Markup("").join([*parts, Markup("{}").format(printable(text[end:]))])


def _asset(name: str) -> Markup:
    return Markup(files("reports").joinpath("templates", name).read_text(encoding="utf-8"))


def _hash(content: str) -> str:
    """What the page's own content security policy admits: this script and this style only."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
