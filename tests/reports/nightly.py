"""A journal as a nightly run leaves it, written through the Journal API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.history import Event, Kind
from chaos.journal import Journal, Round, ServiceLog, Trial

STARTED_UNIX = 1_780_000_000.0
HOSTILE = "<script>alert('x')</script>\"&]]>\x00\x1b[31m\ud800\u202e" + "long " * 3000

_PLANS = {
    "kill-compute-mid-reboot": ("S3.1", "LP#1072751", "Compute dies between shutdown and start"),
    "delay-bdm-deletion": ("S4.1", "LP#2067869", "Volume deleted while its mapping lingers"),
    "race-two-deletes": ("S1.3", "LP#1914777", "Two deletes of a booting server"),
}

_DOCUMENT = """\
plan: {plan}
title: {title}
given:
  - server.create: {{as: vm, flavor: small}}
during:
  - server.reboot: {{server: vm, type: soft}}
inject:
  - at: after hypervisor.shutdown
    do: kill
recover:
  - start: compute-host1
then:
  - server.is: {{server: vm, status: ACTIVE}}
settle: 10s
"""


class Script:
    """Writes one trial event by event; every event says how many ms after the last it happens."""

    def __init__(self, journal: Journal, trial: Trial) -> None:
        self.journal, self.trial = journal, trial
        self.now_ns = trial.started_ns
        self.round = 1
        self.operations = 0
        journal.begin(trial)

    def add(
        self, after_ms: float, kind: Kind, lane: str, name: str, actor: str = "", /, **data: Any
    ) -> None:
        self.now_ns += int(after_ms * 1e6)
        event = Event(self.now_ns, kind, lane, name, actor, data)
        self.journal.event(self.trial.id, self.round, event)

    def phase(self, after_ms: float, name: str) -> None:
        self.add(after_ms, Kind.STEP, "plan", name, text=name)

    def invoke(self, after_ms: float, name: str, actor: str, /, **arguments: Any) -> str:
        self.operations += 1
        operation = f"op-{self.operations}"
        self.add(
            after_ms, Kind.INVOKE, "client", name, actor, operation=operation, arguments=arguments
        )
        return operation

    def hits(self, service: str, points: str, actor: str, every_ms: float = 0.7) -> None:
        for point in points.split():
            self.add(
                every_ms, Kind.HIT, service, point,
                when="before", action="record", request=actor, thread="MainThread",
            )  # fmt: skip

    def end_round(self, verdict: str = "PASS", reason: str = "", schedule: str = "") -> None:
        self.journal.end_round(self.trial.id, Round(self.round, schedule, verdict, reason))
        self.round += 1

    def end(self, verdict: str, reason: str, *violated: str) -> None:
        ended = replace(
            self.trial,
            ended_ns=self.now_ns,
            rounds=self.round - 1,
            verdict=verdict,
            reason=reason,
            violated=violated,
        )
        self.journal.end(ended)


def trial(plan: str, number: int, bug: str = "", **other: Any) -> Trial:
    scenario, source, title = _PLANS.get(plan, ("S9.9", "", plan))
    facts: dict[str, Any] = {
        "id": f"{number:012x}",
        "plan": plan,
        "title": title,
        "scenario": scenario,
        "source": source,
        "bug": bug,
        "target": "reference",
        "document": _DOCUMENT.format(plan=plan, title=title),
        "location": f"suites/headline/{plan}.plan.yaml",
        "reproduce": f"chaos run suites/headline/{plan}.plan.yaml" + (f" --bug {bug}" * bool(bug)),
        "started_unix": STARTED_UNIX + number,
        "started_ns": 5_000_000_000_000 + number * 1_000_000_000,
        "ended_ns": None,
        "rounds": 0,
        "verdict": None,
        "expected": "FAIL" if bug else "PASS",
        "expected_violations": (),
        "reason": "",
    }
    return Trial(**{**facts, **other})


def write_nightly(path: Path) -> Path:
    """Ten trials: the headline plans clean and with their bugs, and everything that can go wrong.

    Unexpected are four: one FAIL of a clean plan, one VACUOUS, one ERROR, one whose runner died.
    """
    with Journal(path) as journal:
        kill(journal, trial("kill-compute-mid-reboot", 1))
        kill(
            journal,
            trial(
                "kill-compute-mid-reboot", 2, "lp1072751", expected_violations=("no-stuck-task",)
            ),
        )
        delay(journal, trial("delay-bdm-deletion", 3))
        delay(
            journal,
            trial("delay-bdm-deletion", 4, "lp2067869", expected_violations=("volume-survives",)),
        )
        race(journal, trial("race-two-deletes", 5))
        race(journal, trial("race-two-deletes", 6, "lp1914777", expected_violations=("no-5xx",)))
        delay(journal, trial("delay-bdm-deletion", 7), survives=False)
        vacuous(journal, trial("kill-compute-mid-reboot", 8))
        error(journal, trial("delay-bdm-deletion", 9))
        died(journal, trial("race-two-deletes", 10))
        journal.residue("process 4242 (compute-host1) still runs, labelled CHAOS_RUN=7f3a")
    return path


def _given(script: Script) -> None:
    script.phase(0, "steady state")
    script.add(4, Kind.WORLD, "world", "steady state", changes=[])
    script.phase(1, "given")
    create = script.invoke(0.4, "server.create", "req-create", name="vm", flavor="small")
    script.hits("identity", "token.validate", "req-create", 1.1)
    script.hits("api", "api.validate build_request.create quota.check", "req-create")
    script.hits("conductor", "build_request.read instance.create", "req-create")
    script.hits("scheduler", "scheduler.select", "req-create", 2.2)
    script.hits("placement", "allocation.claim", "req-create", 1.9)
    script.hits("compute-host1", "tracker.claim network.bind image.fetch", "req-create", 3.1)
    script.hits("hypervisor-host1", "hypervisor.define hypervisor.start", "req-create", 4.2)
    script.add(
        6, Kind.OK, "client", "server.create", "req-create",
        operation=create, answer={"id": "5f0c", "status": "ACTIVE"},
    )  # fmt: skip
    script.add(
        1, Kind.WORLD, "world", "after given",
        changes=["instances cell1/5f0c: appeared (ACTIVE on host1)",
                 "guests host1/5f0c: appeared (running)",
                 "allocations 5f0c/host1/VCPU: appeared (1)"],
    )  # fmt: skip


def _settled(script: Script, *changes: str) -> None:
    script.phase(1, "settle")
    script.phase(7, "invariants")
    script.add(3, Kind.WORLD, "world", "settled", changes=list(changes))


def _wind_up(script: Script) -> None:
    script.phase(2, "undo")
    script.phase(2, "residue")
    script.phase(4, "end")


def _violation(script: Script, name: str, *evidence: str) -> None:
    script.add(0.3, Kind.VIOLATION, "world", name, evidence=list(evidence), moment="settled")


def kill(journal: Journal, record: Trial) -> None:
    script = Script(journal, record)
    compute = "compute-host1"
    _given(script)
    script.phase(1, "arm")
    script.phase(2, "during")
    reboot = script.invoke(0.5, "server.reboot", "req-reboot", server="vm", type="soft")
    script.hits("api", "api.validate instance.save", "req-reboot")
    script.add(2, Kind.OK, "client", "server.reboot", "req-reboot", operation=reboot, answer=None)
    script.hits(compute, "reboot.begin instance.save", "req-reboot")
    script.hits("hypervisor-host1", "hypervisor.shutdown", "req-reboot", 5)
    script.add(
        0.6, Kind.HIT, compute, "hypervisor.shutdown",
        when="after", action="pause", request="req-reboot", thread="worker-1",
    )  # fmt: skip
    script.add(
        0.3, Kind.FAULT, compute, "kill",
        text="SIGKILL to compute-host1 after hypervisor.shutdown", pid=4242,
    )  # fmt: skip
    script.add(0.8, Kind.SERVICE, compute, "killed", pid=4242)
    script.add(0.4, Kind.SERVICE, compute, "exited", pid=4242, code=-9)
    script.phase(1, "recover")
    script.add(12, Kind.UNDO, compute, "kill", text="compute-host1 started again")
    script.add(0.2, Kind.SERVICE, compute, "started", pid=4250)
    script.add(19, Kind.SERVICE, compute, "ready", pid=4250)
    points = "recover.begin instance.read recover.power_state reboot.retry instance.save"
    script.hits(compute, points, "req-reboot", 1.5)
    if not record.bug:
        script.hits("hypervisor-host1", "hypervisor.start", "req-reboot", 4)
        _settled(script)
    else:
        _settled(
            script,
            "guests host1/5f0c: power 'running' → 'shutdown'",
            "instances cell1/5f0c: task_state None → 'reboot_started'",
        )
    journal.log(
        record.id,
        ServiceLog(
            script.round,
            compute,
            "INFO reboot of 5f0c: soft\nINFO guest 5f0c is shut down\n",
            "INFO compute starting on host1\nWARNING 5f0c: stale task state reboot_started\n",
        ),
    )
    journal.log(
        record.id,
        ServiceLog(script.round, "hypervisor-host1", "INFO shutdown 5f0c\n", "INFO start 5f0c\n"),
    )
    if record.bug:
        _violation(
            script,
            "no-stuck-task",
            "instance 5f0c (vm) in cell1 is ACTIVE with task state 'reboot_started'",
            "its guest on host1 is shutdown",
        )
    _wind_up(script)
    reason = "no-stuck-task: instance 5f0c is ACTIVE with task state 'reboot_started'"
    verdict = "FAIL" if record.bug else "PASS"
    told = reason if record.bug else "Recovered: 13 invariants hold; kill struck once."
    script.end_round(verdict, told)
    script.end(verdict, told, *["no-stuck-task"] * (verdict == "FAIL"))


def delay(journal: Journal, record: Trial, *, survives: bool = True) -> None:
    script = Script(journal, record)
    survives = survives and not record.bug
    _given(script)
    script.phase(1, "during")
    detach = script.invoke(0.5, "volume.detach", "req-detach", server="vm", volume="data")
    script.add(3, Kind.OK, "client", "volume.detach", "req-detach", operation=detach, answer=None)
    script.hits("volume", "attachment.delete volume.set_available", "req-detach", 2)
    script.add(
        0.4, Kind.HIT, "compute-host1", "bdm.destroy",
        when="before", action="delay", request="req-detach", thread="worker-2",
    )  # fmt: skip
    script.add(
        0.1, Kind.FAULT, "compute-host1", "delay",
        text="bdm.destroy delayed until server.delete ended", delay_s=0.25,
    )  # fmt: skip
    delete = script.invoke(1, "server.delete", "req-delete", server="vm")
    script.hits("api", "api.validate bdm.read", "req-delete")
    script.add(24, Kind.OK, "client", "server.delete", "req-delete", operation=delete, answer=None)
    script.add(0.3, Kind.UNDO, "compute-host1", "delay", text="bdm.destroy released")
    remove = script.invoke(2, "volume.delete", "req-remove", volume="data")
    if survives:
        script.add(
            9, Kind.OK, "client", "volume.delete", "req-remove", operation=remove, answer=202
        )
        _settled(script, "volumes data: vanished (available, 1 GiB)")
    else:
        script.add(
            9, Kind.FAIL, "client", "volume.delete", "req-remove",
            operation=remove, error="volume is deleting", status=400,
        )  # fmt: skip
        _settled(script, "volumes data: status 'available' → 'error_deleting'")
        _violation(
            script,
            "volume-survives",
            "volume data was deleted by server.delete (req-delete), which its user never asked for",
        )
    _wind_up(script)
    verdict = "PASS" if survives else "FAIL"
    reason = (
        "Held: 13 invariants hold; delay struck once."
        if survives
        else "volume-survives: volume data was deleted by server.delete (req-delete)\n"
        "block device 17 was read before it was destroyed"
    )
    script.end_round(verdict, reason)
    script.end(verdict, reason, *["volume-survives"] * (verdict == "FAIL"))


def race(journal: Journal, record: Trial, rounds: int = 20) -> None:
    script = Script(journal, record)
    first_bad = 0
    for number in range(1, rounds + 1):
        order = f"{number:05b}".replace("0", "A").replace("1", "B")
        _race_round(script, order, bad := bool(record.bug) and number % 6 == 3)
        reason = f"no-5xx: {order}: server.delete answered 500" if bad else ""
        first_bad = first_bad or (number if bad else 0)
        script.end_round("FAIL" if bad else "PASS", reason, " ".join(order))
    if first_bad:
        script.end(
            "FAIL", f"no-5xx: round {first_bad}: server.delete (req-B) answered 500", "no-5xx"
        )
    else:
        script.end("PASS", f"All {rounds} orders fulfilled both deletes.")


def _race_round(script: Script, order: str, bad: bool) -> None:
    _given(script)
    script.phase(1, "during")
    open_operations = {
        actor: script.invoke(0.2, "server.delete", f"req-{actor}", server="vm") for actor in "AB"
    }
    points = iter(
        ["build_request.read", "mapping.read", "instance.read", "instance.destroy", "end"]
    )
    for actor, point in zip(order, points, strict=True):
        script.add(
            1.3, Kind.HIT, "api", point,
            when="before", action="gate", request=f"req-{actor}", thread=f"worker-{actor}",
        )  # fmt: skip
        text = f"req-{actor} passes {point}"
        script.add(0.1, Kind.FAULT, "api", "race", text=text)
    script.add(
        3, Kind.OK, "client", "server.delete", "req-A",
        operation=open_operations["A"], answer=204,
    )  # fmt: skip
    if bad:
        script.add(
            1, Kind.FAIL, "client", "server.delete", "req-B",
            operation=open_operations["B"], error="InstanceNotFound", status=500,
        )  # fmt: skip
    else:
        script.add(
            1, Kind.INDETERMINATE, "client", "server.delete", "req-B",
            operation=open_operations["B"], error="connection reset by peer",
        )  # fmt: skip
    _settled(script, "instances cell1/5f0c: vanished (ACTIVE on host1)")
    if bad:
        _violation(script, "no-5xx", "server.delete (req-B) answered 500: InstanceNotFound")
    _wind_up(script)


def vacuous(journal: Journal, record: Trial) -> None:
    script = Script(journal, record)
    _given(script)
    _settled(script)
    _wind_up(script)
    reason = (
        "The fault never struck: after hypervisor.shutdown was not reached in compute-host1.\n"
        "Points that were hit: api.validate, tracker.claim, hypervisor.start"
    )
    script.end_round("VACUOUS", reason)
    script.end("VACUOUS", reason)


def error(journal: Journal, record: Trial) -> None:
    script = Script(journal, record)
    script.phase(0, "start")
    script.add(5, Kind.SERVICE, "volume", "started", pid=77)
    reason = "NotReady: volume was not ready after 10.0 s; its log ends: Address already in use"
    script.add(1, Kind.STEP, "plan", "end", text=reason)
    script.end_round("ERROR", reason)
    script.end("ERROR", reason)


def died(journal: Journal, record: Trial) -> None:
    script = Script(journal, record)
    _race_round(script, "AABBA", bad=False)
    script.end_round("PASS", "", "A A B B A")
    _given(script)
    script.phase(1, "during")
    script.invoke(0.2, "server.delete", "req-A", server="vm")
    script.add(3, Kind.SERVICE, "compute-host1", "frozen", pid=4242)
    script.hits("api", "build_request.read mapping.read", "req-A")


def hostile(journal: Journal) -> None:
    """A failing trial in which every text that anybody can choose is an attack."""
    # A column of SQLite cannot hold a surrogate; the JSON of an event's data can.
    text = HOSTILE.replace("\ud800", "")
    record = trial(
        text, 66,
        id=text, title=text, scenario=text, source=f"LP#123 {text}", target=text, document=text,
        location=text, reproduce=text, expected_violations=(text,), case=text, note=text,
    )  # fmt: skip
    script = Script(journal, record)
    script.phase(0, text)
    operation = script.invoke(1, text, text, anything=HOSTILE)
    for kind in (Kind.HIT, Kind.FAULT, Kind.UNDO, Kind.SERVICE):
        script.add(1, kind, text, text, text, text=HOSTILE)
    script.add(1, Kind.WORLD, "world", text, changes=[HOSTILE])
    script.add(1, Kind.VIOLATION, "world", text, evidence=[HOSTILE], moment=HOSTILE)
    script.add(1, Kind.FAIL, "client", text, text, operation=operation, error=HOSTILE, status=None)
    journal.log(record.id, ServiceLog(1, text, text, text))
    script.end_round("FAIL", text, text)
    script.end_round("FAIL", text, text)
    script.end("FAIL", text)
    journal.residue(text)
