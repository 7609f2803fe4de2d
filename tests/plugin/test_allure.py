"""What Allure is given of a chaos test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.test_plugin import BY_HAND, PLAN

MATRIX = """
matrix:
  point: [transfer.debit, transfer.credit]
"""


def results(project: pytest.Pytester, *options: str) -> dict[str, Mapping[str, Any]]:
    """Run everything; what Allure is given of each test, by its name."""
    project.runpytest_subprocess("--alluredir=allure", "--clean-alluredir", *options)
    found = [json.loads(file.read_text()) for file in folder(project).glob("*-result.json")]
    return {result["name"]: result for result in found}


def folder(project: pytest.Pytester) -> Path:
    return project.path / "allure"


def attached(project: pytest.Pytester, step: Mapping[str, Any]) -> dict[str, str]:
    return {
        each["name"]: (folder(project) / each["source"]).read_text() for each in step["attachments"]
    }


def names(steps: list[Mapping[str, Any]]) -> list[str]:
    return [step["name"] for step in steps]


def test_a_plan_has_a_history_with_each_bug_switch(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    found = results(project)
    assert {name: result["status"] for name, result in found.items()} == {
        "crash": "passed",
        "crash [lost-credit]": "passed",
    }
    assert len({result["historyId"] for result in found.values()}) == 2
    assert len({result["testCaseId"] for result in found.values()}) == 1


def test_each_case_of_a_matrix_has_a_history(project: pytest.Pytester) -> None:
    text = PLAN.replace("before transfer.credit", "before <point>").partition("bugs:")[0]
    project.makefile(".plan.yaml", crash=text + MATRIX)
    found = results(project)
    assert sorted(found) == ["crash [transfer.credit]", "crash [transfer.debit]"]
    assert len({result["historyId"] for result in found.values()}) == 2


def test_a_history_goes_on_when_a_plan_is_run_from_elsewhere(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    first = results(project, "--chaos-no-bugs")["crash"]
    system = project.makepyfile(system="from tests.ledger.ledger import money_is_kept, target")
    again = results(project, "--chaos-no-bugs", f"--chaos-target={system}")["crash"]
    assert first["uuid"] != again["uuid"]
    assert first["historyId"] == again["historyId"]


def test_the_title_and_the_links_are_the_plans(project: pytest.Pytester) -> None:
    text = f"title: the teller dies\nsource: as LP#42 tells{PLAN}"
    project.makefile(".plan.yaml", crash=text)
    (result,) = results(project, "--chaos-no-bugs").values()
    assert result["name"] == "the teller dies"
    assert [(link["name"], link["url"]) for link in result["links"]] == [
        ("LP#42", "https://bugs.launchpad.net/bugs/42")
    ]


def test_phases_are_steps_and_hold_what_was_done_and_what_struck(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    (result,) = results(project, "--chaos-no-bugs").values()
    phases = {step["name"]: step for step in result["steps"]}
    assert [*phases][:4] == ["given", "arm", "during", "recover"]
    assert names(phases["given"]["steps"]) == [
        "account.open(name=alice, amount=100)",
        "account.open(name=bob, amount=0)",
    ]
    transfer, fault = phases["during"]["steps"]
    assert "transfer may or may not have happened" in transfer["statusDetails"]["message"]
    assert fault["name"].startswith("fault: teller died before transfer.credit")
    assert result["start"] <= phases["given"]["start"] <= fault["start"] <= result["stop"]


def test_the_timeline_the_plan_and_the_logs_are_attached(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN)
    (result,) = results(project, "--chaos-no-bugs").values()
    found = attached(project, result)
    assert sorted(found) == ["log of teller", "plan", "timeline"]
    assert "plan: crash" in found["plan"]
    assert "<svg" in found["timeline"]
    assert "POST /transfer" in found["log of teller"] or "POST /open" in found["log of teller"]


def test_a_fault_that_never_struck_is_a_failure_and_nothing_broken(
    project: pytest.Pytester,
) -> None:
    never = PLAN.replace("at: before transfer.credit", "at: before teller.recover")
    project.makefile(".plan.yaml", crash=never)
    (result,) = results(project, "--chaos-no-bugs").values()
    assert result["status"] == "failed"
    assert "was never reached" in result["statusDetails"]["message"]


def test_a_violation_is_a_failure_and_a_red_step(project: pytest.Pytester) -> None:
    wrong = PLAN.replace("bugs:", "then:\n  - account.expect: {name: bob, balance: 7}\nbugs:")
    project.makefile(".plan.yaml", crash=wrong)
    (result,) = results(project, "--chaos-no-bugs").values()
    assert result["status"] == "failed"
    assert [step["name"] for step in result["steps"] if step["status"] == "failed"] == ["then"]


def test_a_given_that_cannot_be_made_is_broken(project: pytest.Pytester) -> None:
    broken = PLAN.replace("{name: bob, amount: 0}", "{name: bob, amount: -5}")
    project.makefile(".plan.yaml", crash=broken)
    (result,) = results(project, "--chaos-no-bugs").values()
    assert result["status"] == "broken"


def test_a_target_that_does_not_start_leaves_a_history_to_each(project: pytest.Pytester) -> None:
    project.makefile(".plan.yaml", crash=PLAN.replace("target: tests.ledger.ledger:target\n", ""))
    system = project.makepyfile(
        system="""
        from tests.ledger.ledger import Ledger, money_is_kept

        class Broken(Ledger):
            def start(self, *arguments):
                raise OSError("no disk")

        target = Broken
        """
    )
    found = results(project, f"--chaos-target={system}")
    assert {result["status"] for result in found.values()} == {"broken"}
    assert len({result["historyId"] for result in found.values()}) == 2


def test_a_trial_of_a_test_by_hand_is_a_step_of_it(project: pytest.Pytester) -> None:
    project.makepyfile(test_hand=BY_HAND)
    found = results(project)
    (trial,) = found["test_sees_the_defect"]["steps"]
    assert trial["name"] == "by-hand [lost-credit]: FAIL"
    assert "given" in names(trial["steps"])
    assert "timeline" in attached(project, trial)
    assert {result["status"] for result in found.values()} == {"passed"}
