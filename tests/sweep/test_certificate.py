"""The certificate: what it keeps, what it says, and how it is taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.sweep.certificate import Certificate, Entry, Status


def entry(place: str, verdict: str = "PASS", status: Status = Status.RUN, **facts: str) -> Entry:
    return Entry("reboot", (place,), status, verdict, **facts)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep" / "entries.jsonl"


def begun(path: Path, *, target: str = "tiny", bug: str = "", resume: bool = False) -> Certificate:
    certificate = Certificate(path, target, 1, bug)
    certificate.begin(resume=resume)
    return certificate


def test_what_was_done_is_known_to_the_sweep_that_goes_on(path: Path) -> None:
    begun(path).add(entry("before desk.make in desk"))
    again = begun(path, resume=True)
    assert [*again.entries] == [("reboot", "before desk.make in desk")]
    again.add(entry("after desk.make in desk"))
    assert len(begun(path, resume=True).entries) == 2


def test_a_sweep_that_does_not_go_on_begins_anew(path: Path) -> None:
    begun(path).add(entry("before desk.make in desk"))
    assert begun(path).entries == {}
    assert begun(path, resume=True).entries == {}


@pytest.mark.parametrize("other", [{"target": "other"}, {"bug": "lp1"}])
def test_the_entries_of_another_sweep_are_not_taken_for_ones_own(
    path: Path, other: dict[str, str]
) -> None:
    begun(path).add(entry("before desk.make in desk"))
    assert begun(path, resume=True, **other).entries == {}


def test_a_line_that_a_killed_sweep_did_not_finish_is_done_again(path: Path) -> None:
    certificate = begun(path)
    certificate.add(entry("before desk.make in desk"))
    certificate.add(entry("after desk.make in desk"))
    path.write_text(path.read_text()[:-20])
    again = begun(path, resume=True)
    assert [*again.entries] == [("reboot", "before desk.make in desk")]
    again.add(entry("after desk.make in desk"))
    assert len(begun(path, resume=True).entries) == 2


def test_a_workload_in_which_no_crash_was_seen_proves_nothing(path: Path) -> None:
    certificate = begun(path)
    certificate.add(entry("a", "VACUOUS", Status.UNREACHABLE))
    certificate.left_out["other"] = "it does not pass"
    assert certificate.proved_nothing == ["other", "reboot"]
    certificate.add(entry("b"))
    assert certificate.proved_nothing == ["other"]


def test_only_what_somebody_must_look_at_is_red(path: Path) -> None:
    certificate = begun(path)
    certificate.add(entry("a"))
    certificate.add(entry("b", "FAIL"))
    certificate.add(entry("c", "VACUOUS", Status.UNREACHABLE))
    certificate.add(entry("d", "ERROR", Status.BROKEN))
    assert [one.places for one in certificate.red] == [("b",), ("d",)]


def test_it_lists_every_place_for_machines_and_for_people(path: Path) -> None:
    certificate = begun(path, bug="lp1")
    certificate.add(entry("before desk.make in desk"))
    certificate.add(entry("after desk.make in desk", "VACUOUS", Status.UNREACHABLE, reason="no|t"))
    certificate.left_out["other"] = "it does not pass"
    certificate.write(path.with_name("c.json"), path.with_name("c.md"))

    whole = json.loads(path.with_name("c.json").read_text())
    assert (whole["target"], whole["bug"], whole["left_out"]) == (
        "tiny", "lp1", {"other": "it does not pass"},
    )  # fmt: skip
    assert whole["counts"] == {"reboot": {"PASS": 1, "unreachable": 1}}
    assert [one["places"] for one in whole["entries"]] == [
        ["before desk.make in desk"], ["after desk.make in desk"],
    ]  # fmt: skip
    told = path.with_name("c.md").read_text()
    assert "| before desk.make in desk | run | PASS |  |" in told
    assert "| after desk.make in desk | unreachable | VACUOUS | no\\|t |" in told
