"""The certificate of a sweep: what was crashed where, what came of it; what was not, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from chaos.verdict import Verdict

VERSION = 1


class Status(StrEnum):
    """What became of a place where a crash could be."""

    RUN = "run"
    """It crashed there; the verdict says what came of it."""
    UNREACHABLE = "unreachable"
    """It was not reached again, as often as it was tried: ``reason`` says how far it came."""
    BROKEN = "broken"
    """The trial came to no verdict: says nothing about the target."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place, or two of which the second lies in the recovery from the first."""

    workload: str
    places: tuple[str, ...]
    status: Status
    verdict: str
    violated: tuple[str, ...] = ()
    reason: str = ""
    plan: str = ""
    """The file with the plan that runs it again; '' where there is nothing to look at."""
    tries: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two entries the same."""
        return (self.workload, *self.places)

    @property
    def is_red(self) -> bool:
        """Whether somebody must look at it."""
        return self.verdict != Verdict.PASS and self.status is not Status.UNREACHABLE


@dataclass(slots=True)
class Certificate:
    """All entries of a sweep, in a file of their own, written one by one as the trials end.

    A sweep that was interrupted, or killed, is taken up where its file ends.
    """

    path: Path
    target: str
    depth: int
    bug: str = ""
    entries: dict[tuple[str, ...], Entry] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Workloads that could not be swept, and why: without their faults they are another thing."""

    def begin(self, *, resume: bool) -> None:
        """Begin anew, or with the entries of an earlier sweep of the same target and switch."""
        head = {"version": VERSION, "target": self.target, "bug": self.bug}
        lines = list(_lines(self.path)) if resume and self.path.exists() else []
        if lines and lines[0] == head:
            for line in lines[1:]:
                entry = _entry(line)
                self.entries[entry.key] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Without the line that a killed sweep did not finish: the next one would be joined to it.
        kept = [head, *(asdict(entry) for entry in self.entries.values())]
        whole = self.path.with_suffix(".new")
        whole.write_text("".join(json.dumps(line) + "\n" for line in kept))
        whole.replace(self.path)

    def add(self, entry: Entry) -> None:
        """Record what became of a place."""
        self.entries[entry.key] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    @property
    def red(self) -> list[Entry]:
        """What somebody must look at."""
        return [entry for entry in self.entries.values() if entry.is_red]

    @property
    def proved_nothing(self) -> list[str]:
        """The workloads in which no crash was seen: left out, or every place unreachable."""
        swept = {entry.workload for entry in self.entries.values()}
        run = {entry.workload for entry in self.entries.values() if entry.status is Status.RUN}
        return sorted((swept - run) | self.left_out.keys())

    def counts(self) -> dict[str, Counter[str]]:
        """Of each workload: how many places were run, and with which verdicts."""
        found: dict[str, Counter[str]] = {}
        for entry in self.entries.values():
            told = entry.verdict if entry.status is Status.RUN else entry.status.value
            found.setdefault(entry.workload, Counter())[told] += 1
        return found

    def write(self, json_path: Path, markdown_path: Path) -> None:
        """Write it whole, for machines and for people."""
        whole = {
            "version": VERSION, "target": self.target, "bug": self.bug, "depth": self.depth,
            "counts": self.counts(), "left_out": self.left_out,
            "entries": [asdict(e) for e in self.entries.values()],
        }  # fmt: skip
        json_path.write_text(json.dumps(whole, indent=1) + "\n")
        markdown_path.write_text("\n".join(self._markdown()) + "\n")

    def _markdown(self) -> Iterator[str]:
        switch = f", with {self.bug} on" if self.bug else ""
        yield f"# Sweep of {self.target}{switch}"
        yield ""
        yield "Each service was crashed before and after every call of a point that it made."
        for workload, reason in self.left_out.items():
            yield f"\n`{workload}` was left out: {reason}"
        for workload, counts in self.counts().items():
            told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
            yield f"\n## {workload}: {told}\n"
            yield "| crash | status | verdict | what came of it |"
            yield "|---|---|---|---|"
            for entry in self.entries.values():
                if entry.workload == workload:
                    yield _row(entry)


def _row(entry: Entry) -> str:
    reason = entry.reason.replace("\n", " ").replace("|", "\\|")
    told = ", ".join(f"`{name}`" for name in entry.violated) or reason
    return f"| {' *then* '.join(entry.places)} | {entry.status} | {entry.verdict} | {told} |"


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the last one, of a sweep that was killed


def _entry(line: dict[str, Any]) -> Entry:
    listed = {name: tuple(line[name]) for name in ("places", "violated")}
    return Entry(**{**line, **listed, "status": Status(line["status"])})
