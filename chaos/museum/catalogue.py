"""What `chaos museum` writes: the kill matrix for machines and for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.journal.kills import Exhibit, Kill
from chaos.verdict import Verdict

VERSION = 1
SHOWN = 4
"""How many plans of others that caught a bug are named in a row; the JSON file has all."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The kill matrix of one target: its switches, and what came of each plan."""

    target: str
    switches: Mapping[str, str]
    """Every switch that was to be run, and what it is."""
    exhibits: Mapping[str, Exhibit]
    clean: tuple[Kill, ...]
    """The plans with all switches off."""

    @property
    def escaped(self) -> list[str]:
        """The switches that no plan is for, or that one did not catch every time."""
        return [
            bug
            for bug in self.switches
            if bug not in self.exhibits or not self.exhibits[bug].is_caught
        ]

    @property
    def false_alarms(self) -> list[Kill]:
        """Plans that did not pass every time with all switches off."""
        return [kill for kill in self.clean if any(n != Verdict.PASS for n, _ in kill.verdicts)]

    def write(self, json_path: Path, markdown_path: Path) -> None:
        """Write it whole."""
        json_path.write_text(json.dumps(self.document(), indent=1) + "\n")
        markdown_path.write_text("\n".join(self.markdown()) + "\n")

    def document(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "version": VERSION,
            "target": self.target,
            "bugs": {
                bug: {
                    "summary": summary,
                    "caught": bug not in self.escaped,
                    "plans": [_kill(k) for k in self._kills(bug)],
                }
                for bug, summary in self.switches.items()
            },
            "clean": [_kill(kill) for kill in self.clean],
        }

    def _kills(self, bug: str) -> tuple[Kill, ...]:
        found = self.exhibits.get(bug)
        return found.kills if found else ()

    def markdown(self) -> Iterator[str]:
        """The same as a table, and what is to be looked at."""
        runs = sum(len(kill.trials) for kill in self.clean)
        rounds = sum(kill.rounds for kill in self.clean)
        alarms = sum(n for k in self.clean for name, n in k.verdicts if name != Verdict.PASS)
        yield f"{len(self.switches)} bug switches of `{self.target}`, {len(self.escaped)} escaped."
        yield (
            f"With all switches off {len(self.clean)} plans were run {runs:,} times "
            f"({rounds:,} rounds), with {alarms} false alarms."
        )
        yield ""
        yield "| bug switch | caught by | invariants | caught | first | also by | green |"
        yield "|---|---|---|--:|--:|---|--:|"
        for bug in self.switches:
            exhibit = self.exhibits.get(bug)
            own = [kill for kill in exhibit.kills if kill.own] if exhibit else []
            if not exhibit or not own:
                yield f"| {bug} | **no plan** | | | | | |"
                continue
            others = [kill for kill in exhibit.catching if not kill.own]
            also = ", ".join(f"`{kill.plan}`" for kill in others[:SHOWN])
            also += f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
            for number, kill in enumerate(own):
                last = (also, str(len(exhibit.green))) if number == 0 else ("", "")
                yield _row((bug if number == 0 else "", *_cells(kill), *last))
        for kill in self.false_alarms:
            told = ", ".join(f"{count} {name}" for name, count in kill.verdicts)
            yield f"\nfalse alarm: `{kill.plan}`: {told}"


def _cells(kill: Kill) -> tuple[str, ...]:
    named = kill.trials[0].expected_violations
    count = f"{kill.caught} of {len(kill.trials)}"
    return (
        f"`{kill.plan}`",
        ", ".join(f"`{name}`" for name in named),
        count if kill.caught == len(kill.trials) else f"**{count}**",
        str(kill.first or "never"),
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _kill(kill: Kill) -> dict[str, Any]:
    return {
        "plan": kill.plan,
        "own": kill.own,
        "runs": len(kill.trials),
        "rounds": kill.rounds,
        "caught": kill.caught,
        "first": kill.first,
        "named": list(kill.trials[0].expected_violations),
        "violated": list(kill.violated),
        "verdicts": dict(kill.verdicts),
    }
