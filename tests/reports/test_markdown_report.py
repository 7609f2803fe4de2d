from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.journal import Journal
from reports import markdown
from tests.reports import nightly as script


@pytest.fixture
def lines(nightly: Journal, tmp_path: Path) -> list[str]:
    markdown.render(nightly, tmp_path / "summary.md")
    return (tmp_path / "summary.md").read_text().splitlines()


def test_summary_begins_with_the_whole_run_in_a_sentence(lines: list[str]) -> None:
    assert lines[0] == "### ❌ 4 of 10 verdicts are unexpected; 1 thing left over"


def test_unexpected_verdicts_come_first(lines: list[str]) -> None:
    symbols = [line[2] for line in lines if line.startswith(("| ✅", "| ❌"))]
    assert symbols == ["❌"] * 4 + ["✅"] * 6


def test_row_tells_what_was_expected_instead(lines: list[str]) -> None:
    assert any("| **VACUOUS**, expected PASS | 1 |" in line for line in lines)


def test_reproduce_commands_are_those_of_the_unexpected(lines: list[str]) -> None:
    commands = lines[lines.index("```sh") + 1 : -1]
    assert len(commands) == 4
    assert commands[0] == "chaos run suites/headline/delay-bdm-deletion.plan.yaml"


@pytest.mark.parametrize(
    "text", ["a | b", "`a`", "a\nb", "<b>a</b>", "[a](http://b)", "*a*", "\\|"]
)
def test_hostile_text_stays_in_its_cell(journal: Journal, tmp_path: Path, text: str) -> None:
    hostile = script.Script(journal, script.trial(text, 1))
    hostile.end("PASS", text)
    markdown.render(journal, tmp_path / "summary.md")
    (row,) = (
        line for line in (tmp_path / "summary.md").read_text().splitlines() if line[:3] == "| ✅"
    )
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 9
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*<\[]", row)


def test_fence_is_longer_than_any_in_a_command(journal: Journal, tmp_path: Path) -> None:
    hostile = script.Script(journal, script.trial("fence", 1, reproduce="echo ````"))
    hostile.end("FAIL", "")
    markdown.render(journal, tmp_path / "summary.md")
    assert (tmp_path / "summary.md").read_text().endswith("`````sh\necho ````\n`````\n")


def test_trials_of_one_kind_are_one_row_and_a_skipped_one_has_a_mark_of_its_own(
    journal: Journal, tmp_path: Path
) -> None:
    for number in range(1, 101):
        short = script.Script(journal, script.trial("short", number, case="b"))
        short.end_round()
        short.end("PASS", "fine")
    script.Script(journal, script.trial("linked", 101)).end("SKIPPED", "it has no links")
    noted = script.Script(journal, script.trial("noted", 102))
    noted.end("PASS", "fine")
    journal.end(replace(journal.trials()[-1], note="undo failed"))
    markdown.render(journal, tmp_path / "summary.md")
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert [line for line in lines if line[:3] in ("| ✅", "| ○")] == [
        "| ✅ | short\\[b\\] | - | PASS | 100 | 100 | 0.00 | fine |",
        "| ○ | linked | - | SKIPPED | 1 | 0 | 0.00 | it has no links |",
        "| ✅ | noted | - | PASS | 1 | 0 | 0.00 | fine; undo failed |",
    ]
