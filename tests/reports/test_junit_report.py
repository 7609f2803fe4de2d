from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, parse

import pytest

from chaos.journal import Journal
from reports import junit
from tests.reports import nightly as script


@pytest.fixture
def suites(nightly: Journal, tmp_path: Path) -> Element:
    junit.render(nightly, tmp_path / "junit.xml")
    return parse(tmp_path / "junit.xml").getroot()


def test_counts_are_those_of_the_cases(suites: Element) -> None:
    # Ten trials and the audit: a FAIL, a VACUOUS and the leftover fail; ERROR and a death are
    # errors.
    assert [suites.get(name) for name in ("tests", "failures", "errors")] == ["11", "3", "2"]
    for suite in suites:
        assert suite.get("tests") == str(len(suite.findall("testcase")))


def test_plan_file_is_a_suite(suites: Element) -> None:
    assert [suite.get("name") for suite in suites] == [
        "suites/headline/kill-compute-mid-reboot.plan.yaml",
        "suites/headline/delay-bdm-deletion.plan.yaml",
        "suites/headline/race-two-deletes.plan.yaml",
        "residue",
    ]


def test_expected_fail_of_a_bug_switch_is_a_passed_case(suites: Element) -> None:
    (case,) = suites.findall(".//testcase[@name='kill-compute-mid-reboot[lp1072751]']")
    assert [child.tag for child in case] == ["system-out"]


def test_unexpected_verdict_says_what_was_expected_and_how_to_reproduce_it(
    suites: Element,
) -> None:
    (failure,) = suites.findall(".//failure[@type='VACUOUS']")
    assert (failure.get("message") or "").startswith("VACUOUS, expected PASS: The fault never")
    assert "Reproduce: chaos run suites/headline/kill" in (failure.text or "")


def test_error_and_death_of_the_runner_are_errors(suites: Element) -> None:
    assert {each.get("type") for each in suites.iter("error")} == {"ERROR", "NO VERDICT"}


def test_no_two_cases_of_a_suite_have_one_name(suites: Element) -> None:
    for suite in suites:
        names = [case.get("name") for case in suite.iter("testcase")]
        assert len(names) == len(set(names))


def test_characters_that_xml_forbids_do_not_break_it(journal: Journal, tmp_path: Path) -> None:
    script.hostile(journal)
    junit.render(journal, tmp_path / "junit.xml")
    (failure,) = parse(tmp_path / "junit.xml").findall(".//failure[@type='FAIL']")
    assert (failure.text or "").startswith("<script>alert('x')</script>\"&]]>␀�long")


def test_a_required_trial_that_was_skipped_is_a_failure(journal: Journal, tmp_path: Path) -> None:
    required = replace(script.trial("linked", 1), required=True)
    script.Script(journal, required).end("SKIPPED", "the target has no links")
    junit.render(journal, tmp_path / "junit.xml")
    (case,) = parse(tmp_path / "junit.xml").getroot().iter("testcase")
    assert case.find("skipped") is None
    assert [found.get("message") for found in case.findall("failure")] == [
        "SKIPPED, expected PASS: the target has no links"
    ]


def test_a_skipped_trial_is_a_skipped_case_with_its_reason(
    journal: Journal, tmp_path: Path
) -> None:
    skipped = script.Script(journal, script.trial("linked", 1, "lp1", case="slow"))
    skipped.end("SKIPPED", "the target has no links")
    junit.render(journal, tmp_path / "junit.xml")
    root = parse(tmp_path / "junit.xml").getroot()
    (case,) = root.iter("testcase")
    assert case.get("name") == "linked[slow][lp1]"
    assert [found.get("message") for found in case.findall("skipped")] == [
        "the target has no links"
    ]
    for counting in (root, root[0]):
        counts = [counting.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["1", "0", "0", "1"]


def test_a_note_stands_in_the_output_of_its_case(journal: Journal, tmp_path: Path) -> None:
    script.Script(journal, script.trial("noted", 1)).end("PASS", "fine")
    journal.end(replace(journal.trials()[0], note="undo failed: no network"))
    junit.render(journal, tmp_path / "junit.xml")
    (output,) = parse(tmp_path / "junit.xml").getroot().iter("system-out")
    assert "undo failed: no network" in (output.text or "").splitlines()
