"""crash: the process that comes to the point is dead, and nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.action import Scope
from chaos.errors import ChaosError
from chaos.fault import Armed, FaultContext
from chaos.history import Kind
from chaos.plan import Location, inject, step
from chaos.point import When
from chaos.verdict import Verdict
from faults.crash import Crashing
from tests.conftest import Running
from tests.tiny.plans import MOVE, PARCEL, SEND, plan

THERE = step("parcel.expect", parcel="p", place="b")
NOT_THERE = step("parcel.expect", parcel="p", place="a")


@pytest.mark.parametrize(
    ("at", "then"), [("before desk.move", NOT_THERE), ("after desk.move", THERE)]
)
def test_it_dies_before_or_after_the_call(tiny: Running, at: str, then: object) -> None:
    outcome = tiny.run(plan(inject("crash", at=at), then=(then,)))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def test_its_hit_its_death_and_its_return_are_told_in_this_order(tiny: Running) -> None:
    tiny.run(plan(inject("crash", at="before carry.put"), name="dies-in-order", during=(SEND,)))
    told = [
        event.data.get("action") or event.name
        for event in tiny.journal.events(tiny.journal.trials()[-1].id, 1)
        if (event.lane == "carrier" and event.kind in (Kind.SERVICE, Kind.FAULT))
        or event.data.get("action") == "crash"
    ]  # fmt: skip
    assert told == ["crash", "exited", "crash", "started", "ready"]


def test_it_dies_in_the_service_that_the_plan_names(tiny: Running) -> None:
    """Desk and carrier count what a place holds by the same function."""
    at = Location(when=When.BEFORE, point="usage.give", service="carrier")
    dies = inject("crash", at=at)
    tiny.run(plan(dies, name="dies-in-one", during=(MOVE, step("parcel.send", parcel="p", to="c"))))
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    died = [event.lane for event in events if event.name == "exited"]
    assert (tiny.outcome.verdict, died) == (Verdict.PASS, ["carrier"])


def test_it_dies_the_nth_time_counted_over_its_lives(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="recover.take", occurrence=2)
    second = inject("crash", at=at, phase="recover")
    send = step("parcel.send", parcel="q", to="b")
    outcome = tiny.run(
        plan(
            inject("kill", service="carrier"), second,
            given=(PARCEL, step("parcel.make", name="q", place="a")),
            during=(SEND, send),
        )
    )  # fmt: skip
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


class Undying:
    """A context in which nobody ever dies."""

    deadline_s = 0.0

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, kind: Kind, lane: str, name: str, text: str, **facts: Any) -> None:
        self.told.append(text)

    @property
    def services(self) -> dict[str, Undying]:
        return {"carrier": self}

    def wait_dead(self, deadline_s: float) -> bool:
        return False

    def wait_for(self, happened: object, deadline_s: float | None) -> bool:
        return False


def test_a_process_that_is_to_die_and_lives_is_an_error() -> None:
    with pytest.raises(ChaosError, match=r"reached `before carry\.put` and was to die there, but"):
        crashing(main=True, scope="process").finish(0.0)


def test_a_worker_has_died_when_its_agent_has_though_its_service_lives() -> None:
    struck = crashing(main=False, scope="process")
    struck.finish(0.0)
    assert cast(Undying, struck.context).told == ["a worker of carrier died before carry.put"]


def test_a_service_that_is_to_die_of_its_worker_and_lives_is_an_error() -> None:
    with pytest.raises(ChaosError, match="was to die there, but lives"):
        crashing(main=False, scope="service").finish(0.0)


def crashing(*, main: bool, scope: Scope) -> Crashing:
    hit = SimpleNamespace(service="carrier", pid=1, at_ns=0, main=main)
    arm = cast(Armed, SimpleNamespace(hits=(hit,)))
    at = Location(when=When.BEFORE, point="carry.put")
    return Crashing(cast(FaultContext, Undying()), arm, at, scope)
