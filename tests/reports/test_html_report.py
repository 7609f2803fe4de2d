from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from chaos.history import Kind
from chaos.journal import Journal
from reports import html
from tests.reports import nightly as script
from tests.reports.page import lanes, of_class, parse, section, text, tips

KILL, KILL_BUG, DELAY, DELAY_BUG, RACE, RACE_BUG, SPOILT, VACUOUS, ERROR, DIED = range(1, 11)


def rows(page: Element) -> list[Element]:
    return [row for row in of_class(page, "trial") if row.tag == "tr"]


def test_headline_counts_unexpected_verdicts_and_leftovers(page: Element) -> None:
    headline = text(next(page.iter("h1")))
    assert headline == "✗ 4 of 10 verdicts are unexpected; 1 thing left over"


def test_every_trial_has_a_row_that_links_to_its_section(page: Element) -> None:
    targets = [next(row.iter("a")).get("href", "") for row in rows(page)]
    sections = [f"#{each.get('id')}" for each in page.iter("details") if each.get("id")]
    assert len(targets) == 10
    assert targets == sections


def test_row_tells_plan_scenario_source_bug_verdict_rounds_and_reason(page: Element) -> None:
    cells = [text(cell) for cell in rows(page)[RACE_BUG - 1]]
    seconds = cells.pop(7)
    assert float(seconds) > 0
    assert cells == [
        "race-two-deletes",
        "S1.3",
        "LP#1914777",
        "lp1914777",
        "✓ FAIL as expected",
        "1",
        "20",
        "no-5xx: round 3: server.delete (req-B) answered 500",
    ]


def test_only_the_sections_of_unexpected_trials_are_open(page: Element) -> None:
    opened = [number for number in range(1, 11) if "open" in section(page, number).attrib]
    assert opened == [SPOILT, VACUOUS, ERROR, DIED]


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (KILL, "✓ PASS"),
        (KILL_BUG, "✓ FAIL as expected"),
        (SPOILT, "✗ FAIL expected PASS"),
        (VACUOUS, "✗ VACUOUS expected PASS"),
        (ERROR, "✗ ERROR expected PASS"),
        (DIED, "✗ NO VERDICT expected PASS"),
    ],
)
def test_verdict_is_told_in_a_symbol_a_word_and_what_was_expected(
    page: Element, number: int, verdict: str
) -> None:
    assert text(of_class(section(page, number), "state-of")[0]) == verdict


def test_bug_caught_by_the_wrong_invariant_is_unexpected(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    wanted = script.trial("delay-bdm-deletion", 1, "lp2067869", expected_violations=("no-5xx",))
    script.delay(journal, wanted)
    state = of_class(section(rendered(), 1), "state-of")[0]
    assert text(state) == "✗ FAIL expected FAIL of no-5xx"


def test_source_links_to_its_launchpad_bug(page: Element) -> None:
    link = list(rows(page)[0].iter("a"))[1]
    assert (text(link), link.get("href")) == (
        "LP#1072751",
        "https://bugs.launchpad.net/bugs/1072751",
    )


def test_violation_is_shown_with_every_line_of_its_evidence(page: Element) -> None:
    (evidence,) = of_class(section(page, KILL_BUG), "evidence")
    assert text(evidence) == (
        "✗ no-stuck-task settled "
        "instance 5f0c (vm) in cell1 is ACTIVE with task state 'reboot_started' "
        "its guest on host1 is shutdown"
    )


def test_timeline_has_a_lane_for_everything_that_has_events(page: Element) -> None:
    assert lanes(section(page, DELAY)) == [
        "plan",
        "client",
        "api",
        "compute-host1",
        "conductor",
        "hypervisor-host1",
        "identity",
        "placement",
        "scheduler",
        "volume",
        "world",
    ]
    assert lanes(section(page, ERROR)) == ["plan", "volume"]


def test_fault_is_marked_with_its_moment_and_text(page: Element) -> None:
    (tip,) = tips(section(page, KILL), "fault")
    assert tip.endswith("ms: SIGKILL to compute-host1 after hypervisor.shutdown (pid 4242)")


def test_dead_interval_lasts_from_the_kill_to_the_restart(page: Element) -> None:
    (tip,) = tips(section(page, KILL), "dead")
    assert tip.endswith("ms (13.60 ms): compute-host1 dead until started")


@pytest.mark.parametrize(
    ("number", "outcome", "told"),
    [
        (SPOILT, "fail", "volume.delete failed with 400: volume is deleting"),
        (RACE, "indeterminate", "server.delete may or may not have happened: connection reset"),
        (DIED, "open", "never ended"),
    ],
)
def test_operation_that_did_not_end_well_looks_different_and_says_why(
    page: Element, number: int, outcome: str, told: str
) -> None:
    (tip,) = tips(section(page, number), outcome)
    assert told in tip


def test_race_lists_every_round_with_schedule_and_verdict(page: Element) -> None:
    (table,) = of_class(section(page, RACE_BUG), "rounds")
    listed = [[text(cell) for cell in row][:3] for row in list(table.iter("tr"))[1:]]
    assert len(listed) == 20
    assert listed[2] == ["3", "A A A B B", "FAIL"]


def test_race_shows_the_timeline_of_its_first_round_that_did_not_pass(page: Element) -> None:
    headings = [text(heading) for heading in section(page, RACE_BUG).iter("h4")]
    assert "Timeline of round 3: A A A B B" in headings


def test_trial_whose_runner_died_shows_how_far_its_last_round_came(page: Element) -> None:
    died = section(page, DIED)
    assert "Timeline of round 2" in [text(heading) for heading in died.iter("h4")]
    assert tips(died, "frozen")[0].endswith("compute-host1 frozen to the end of the round")


def test_world_changes_are_told_as_sentences_at_their_moment(page: Element) -> None:
    (changes,) = of_class(section(page, KILL_BUG), "changes")
    assert text(changes[-2]).startswith("settled ")
    assert "guests host1/5f0c: power 'running' → 'shutdown'" in text(changes[-1])


def test_logs_stand_before_and_after_the_fault(page: Element) -> None:
    before, after, *_ = of_class(section(page, KILL), "logs")[0].iter("pre")
    assert "guest 5f0c is shut down" in text(before)
    assert "stale task state reboot_started" in text(after)


def test_reproduce_command_and_plan_are_given_verbatim(nightly: Journal, page: Element) -> None:
    trial = nightly.trials()[KILL_BUG - 1]
    shown = section(page, KILL_BUG)
    assert next(of_class(shown, "command")[0].iter("code")).text == trial.reproduce
    assert list(shown.iter("pre"))[-1].text == trial.document


def test_events_table_holds_every_event_of_the_round(nightly: Journal, page: Element) -> None:
    trial = nightly.trials()[KILL - 1]
    (table,) = of_class(section(page, KILL), "events")
    assert len(list(table.iter("tr"))) - 1 == len(nightly.events(trial.id, 1))


def test_long_round_offers_a_second_timeline_around_the_fault(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    long = script.Script(journal, script.trial("long", 1))
    for number in range(100):
        long.phase(10, f"phase {number}")
    long.add(1, Kind.FAULT, "api", "kill", text="SIGKILL")
    long.phase(10, "end")
    long.end("FAIL", "")
    whole, near = section(rendered(), 1).iter("svg")
    assert len(of_class(near, "fault")) == len(of_class(whole, "fault")) == 2
    assert len(of_class(near, "phase")) < len(of_class(whole, "phase"))


def test_trials_that_passed_beyond_the_limit_keep_all_but_their_detail(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    for number in range(html.DETAILED_EXPECTED + 1):
        short = script.Script(journal, script.trial(f"short-{number}", number))
        short.phase(0, "start")
        short.end("PASS", "fine")
    page = rendered()
    first, last = section(page, 1), section(page, html.DETAILED_EXPECTED + 1)
    assert len(of_class(first, "timeline")) == 1
    assert len(of_class(last, "timeline")) == 0
    assert len(of_class(last, "command")) == 1


def passed(journal: Journal, number: int, plan: str = "short", **other: Any) -> None:
    """A trial of two events, in one round of ``number`` ms."""
    short = script.Script(journal, script.trial(plan, number, **other))
    short.phase(0, "start")
    short.phase(number, "end")
    short.end_round()
    short.end("PASS", "fine")


def failed(journal: Journal, number: int) -> None:
    bad = script.Script(journal, script.trial("short", number))
    bad.phase(0, "start")
    bad.end_round("FAIL", f"reason {number}")
    bad.end("FAIL", f"reason {number}")


def test_trials_of_one_kind_are_one_line_with_counts_and_each_unexpected_one_is_whole(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    for number in range(1, 1001):
        (failed if number in (400, 700) else passed)(journal, number)
    page = rendered()
    cells = [[text(cell) for cell in row][4:] for row in rows(page)]
    assert cells == [
        ["✓ PASS", "998", "998", "499.40", "fine"],
        ["✗ FAIL expected PASS", "1", "1", "0.00", "reason 400"],
        ["✗ FAIL expected PASS", "1", "1", "0.00", "reason 700"],
    ]
    told = text(of_class(section(page, 1), "several")[0])
    assert told == (
        "998 trials did the same and ended so, in 998 rounds; each took 0.00 to 1.00 s, the median "
        "0.50 s. This is the first."
    )
    assert [len(of_class(section(page, number), "timeline")) for number in (1, 2, 3)] == [1, 1, 1]
    assert text(next(page.iter("h1"))).startswith("✗ 2 of 1,000 verdicts are unexpected")


def test_very_many_unexpected_trials_are_rows_and_only_the_first_have_sections(
    journal: Journal, rendered: Callable[[], Element], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "SECTIONS", 3)
    passed(journal, 1)
    for number in range(2, 7):
        failed(journal, number)
    page = rendered()
    linked = [next(row.iter("a"), None) for row in rows(page)]
    assert [link.get("href") if link is not None else "" for link in linked[:5]] == [
        "", "#trial-2", "#trial-3", "#trial-4", "",
    ]  # fmt: skip
    assert len(of_class(page, "body")) == 3
    assert f"{5:012x}" in text(rows(page)[4])
    assert "3 lines of the table have no section" in text(page)


def test_rounds_that_are_counted_and_not_listed_are_said_to_be(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    script.race(journal, script.trial("race-two-deletes", 1))
    noted = script.trial("race-two-deletes", 2)
    script.race(journal, noted)
    journal.end(replace(journal.trials()[1], note="18 schedules run, which stand for 212"))
    shown = section(rendered(), 2)
    assert "Rounds (20, 20 PASS) 20 rounds are counted and not listed here." in text(shown)
    assert "The journal has no event of this trial." in text(shown)
    assert text(of_class(shown, "note")[0]) == "18 schedules run, which stand for 212"


def test_a_case_of_a_matrix_is_shown_with_its_plan(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    for number, case in enumerate(("before bdm.destroy", "after bdm.destroy"), 1):
        passed(journal, number, case=case)
    names = [text(row[0]) for row in rows(rendered())]
    assert names == ["short[before bdm.destroy]", "short[after bdm.destroy]"]


def test_a_skipped_trial_is_neither_red_nor_green_and_says_why(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    passed(journal, 1)
    script.Script(journal, script.trial("linked", 2)).end("SKIPPED", "the target has no links")
    page = rendered()
    assert [row.get("class") for row in rows(page)] == ["trial good", "trial skipped"]
    assert [text(cell) for cell in rows(page)[1]][4:] == [
        "○ SKIPPED", "1", "0", "0.00", "the target has no links",
    ]  # fmt: skip
    assert "open" not in section(page, 2).attrib
    assert text(next(page.iter("h1"))) == (
        "✓ The one verdict is the expected one; 1 trial skipped; nothing left over"
    )


def test_a_run_in_which_everything_was_skipped_is_no_success(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    script.Script(journal, script.trial("linked", 1)).end("SKIPPED", "the target has no links")
    headline = text(next(rendered().iter("h1")))
    assert headline == "○ Nothing was executed; 1 trial skipped; nothing left over"


def test_a_hit_that_is_told_late_stands_at_its_own_moment(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    late = script.Script(journal, script.trial("late", 1))
    late.phase(0, "start")
    late.phase(10, "end")
    late.add(-8, Kind.HIT, "api", "save", action="crash")
    late.end_round("FAIL")
    late.end("FAIL", "")
    (tip,) = tips(section(rendered(), 1), "hit")
    assert tip.startswith("2.00 ms: crash save")


def test_empty_journal_is_no_success(rendered: Callable[[], Element]) -> None:
    assert text(next(rendered().iter("h1"))) == "✗ No trial was recorded; nothing left over"


def test_hostile_text_adds_no_element_and_no_attribute(
    journal: Journal, page: Element, rendered: Callable[[], Element]
) -> None:
    script.hostile(journal)
    attacked = rendered()
    assert {each.tag for each in attacked.iter()} <= {each.tag for each in page.iter()}
    assert {name for each in attacked.iter() for name in each.attrib} <= {
        name for each in page.iter() for name in each.attrib
    }
    assert len(list(attacked.iter("script"))) == 1


def test_hostile_text_is_shown_as_the_text_it_is(
    journal: Journal, rendered: Callable[[], Element]
) -> None:
    script.hostile(journal)
    cells = of_class(rendered(), "events")[0].iter("td")
    assert any("<script>alert('x')</script>\"&]]>␀��long" in text(cell) for cell in cells)


def test_content_security_policy_admits_exactly_the_pages_own_script_and_style(
    page: Element,
) -> None:
    policy = next(meta for meta in page.iter("meta") if meta.get("http-equiv")).get("content")
    hashes = {
        tag: base64.b64encode(hashlib.sha256((element.text or "").encode()).digest()).decode()
        for tag in ("style", "script")
        for element in page.iter(tag)
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'"
    )


def test_page_needs_nothing_from_elsewhere(page: Element) -> None:
    links = {each.get("href", "") for each in page.iter("a")}
    assert not [each for each in page.iter() if "src" in each.attrib or each.tag == "link"]
    assert all(link.startswith(("#", "https://bugs.launchpad.net/bugs/")) for link in links)


def test_same_journal_gives_the_same_bytes(nightly: Journal, report: Path, tmp_path: Path) -> None:
    html.render(nightly, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_page_has_no_two_elements_of_one_id(report: Path) -> None:
    ids = [each.get("id") for each in parse(report).iter() if each.get("id")]
    assert len(ids) == len(set(ids))
