"""`chaos sweep`, as a person meets it: real processes, on the ledger and on the parcels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from chaos.journal import Journal
from tests.plugin.test_cli import PLAN, ROOT, chaos

AT_A_TRANSFER = ("--point", "transfer.*")
PARCELS = """\
plan: send
target: tests.tiny.tiny:target
given:
  - parcel.make: {name: p, place: a}
during:
  - parcel.send: {parcel: p, to: b}
inject:
  - at: before carry.put
    do: crash
"""


def certificate(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (folder / "chaos-results/sweep/certificate.json").read_text()
    )
    return found


def places(folder: Path) -> list[str]:
    return sorted(" then ".join(entry["places"]) for entry in certificate(folder)["entries"])


def verdicts(folder: Path) -> set[str]:
    return {entry["verdict"] for entry in certificate(folder)["entries"]}


def test_each_service_is_crashed_before_and_after_each_call_of_each_point(tmp_path: Path) -> None:
    done = chaos("sweep", PLAN, *AT_A_TRANSFER, cwd=tmp_path)
    assert places(tmp_path) == [
        "after transfer.credit in teller",
        "after transfer.debit in teller",
        "after transfer.finish in teller",
        "before transfer.credit in teller",
        "before transfer.debit in teller",
        "before transfer.finish in teller",
    ]
    assert verdicts(tmp_path) == {"PASS"}
    assert "certificate.md" in done.stdout


def test_a_bug_is_found_without_being_told_where_and_each_find_is_a_plan(tmp_path: Path) -> None:
    done = chaos(
        "sweep", PLAN, *AT_A_TRANSFER, "--bug", "lost-credit", cwd=tmp_path, expect=1
    )  # fmt: skip
    red = [one for one in certificate(tmp_path)["entries"] if one["verdict"] != "PASS"]
    assert sorted(one["places"][0] for one in red) == [
        "after transfer.debit in teller", "before transfer.credit in teller",
    ]  # fmt: skip
    assert {tuple(one["violated"]) for one in red} == {("money-is-kept",)}
    for one in red:
        assert f"chaos run {one['plan']}" in done.stdout
        chaos("run", one["plan"], cwd=tmp_path)  # off: PASS; on: FAIL that names the invariant


def test_a_sweep_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    chaos("sweep", PLAN, *AT_A_TRANSFER, cwd=tmp_path)
    entries = tmp_path / "chaos-results/sweep/entries.jsonl"
    lines = entries.read_text().splitlines(keepends=True)
    entries.write_text("".join(lines[:-1]))
    chaos("sweep", PLAN, *AT_A_TRANSFER, "--resume", cwd=tmp_path)
    with Journal(tmp_path / "chaos-results/sweep/journal.sqlite", readonly=True) as journal:
        assert len(journal.trials()) == 2  # the golden run, and the one that was left
    assert len(places(tmp_path)) == 6


def test_a_sweep_that_goes_on_keeps_the_plans_of_the_finds_before_it(tmp_path: Path) -> None:
    command = ("sweep", PLAN, *AT_A_TRANSFER, "--bug", "lost-credit")
    chaos(*command, cwd=tmp_path, expect=1)
    entries = tmp_path / "chaos-results/sweep/entries.jsonl"
    head, *lines = entries.read_text().splitlines(keepends=True)
    first, _ = (line for line in lines if json.loads(line)["plan"])
    entries.write_text(head + first)
    chaos(*command, "--resume", cwd=tmp_path, expect=1)
    for one in certificate(tmp_path)["entries"]:
        if one["plan"]:
            assert f"title: {one['places'][0]}\n" in (tmp_path / one["plan"]).read_text()


def test_at_depth_2_it_crashes_again_in_the_recovery_from_each_crash(tmp_path: Path) -> None:
    (tmp_path / "send.plan.yaml").write_text(PARCELS)
    chaos(
        "sweep", "send.plan.yaml", "--point", "carr*", "--depth", "2", cwd=tmp_path
    )  # fmt: skip
    swept = places(tmp_path)
    assert "before carry.put in carrier" in swept
    assert "before carry.put in carrier then before carrier.recover in carrier, in recover" in swept
    assert verdicts(tmp_path) <= {"PASS", "VACUOUS"}


def test_an_operation_that_no_plan_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    done = chaos("sweep", "server.reboott", cwd=tmp_path, expect=2)
    assert "no plan does `server.reboott` under faults; did you mean `server.reboot`?" in (
        done.stderr
    )


def test_a_point_that_no_workload_passes_is_an_error(tmp_path: Path) -> None:
    done = chaos("sweep", PLAN, "--point", "nowhere.*", cwd=tmp_path, expect=2)
    assert "no workload passes a point like `nowhere.*`" in done.stderr


def test_a_target_that_does_not_start_is_told_as_it_is_by_a_run(tmp_path: Path) -> None:
    (tmp_path / "send.plan.yaml").write_text(PARCELS)
    (tmp_path / "broken.py").write_text(
        "from tests.tiny.tiny import Tiny\n"
        "class Broken(Tiny):\n"
        "    def capture(self, run_dir):\n"
        "        raise self.fault('the disk is wet')\n"
        "    def fault(self, told):\n"
        "        from chaos.errors import TargetError\n"
        "        return TargetError(told)\n"
        "def target():\n"
        "    return Broken()\n"
    )
    done = chaos("sweep", "send.plan.yaml", "--target", "broken.py", cwd=tmp_path, expect=2)
    assert "error: the disk is wet" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_TEST": mark}
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "chaos", "sweep", str(PLAN), "--depth", "2"],
        cwd=tmp_path, env={**environment, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as sweep:  # fmt: skip
        entries = tmp_path / "chaos-results/sweep/entries.jsonl"
        try:
            _wait(lambda: entries.exists() and len(entries.read_text().splitlines()) > 2)
        finally:
            sweep.send_signal(signal.SIGKILL)
    _wait(lambda: not _marked(mark))
    _wait(lambda: not list(temporary.iterdir()))


def _marked(mark: str) -> list[str]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            continue
    return found


def _wait(happened: Any) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
