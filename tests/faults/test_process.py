"""kill, freeze, restart: services are struck from outside, at once or while a call is under way."""

from __future__ import annotations

import pytest

from chaos.history import Event, Kind
from chaos.language.bind import UnboundPlan
from chaos.plan import Location, inject, start, step
from chaos.point import When
from chaos.target import ServiceState
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running
from tests.tiny.plans import MOVE, SEND, plan

MAKE = step("parcel.make", name="q", place="a")
ARRIVED = step("parcel.wait", parcel="p", place="b")


def passed(outcome: Outcome) -> bool:
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    return True


def life(tiny: Running, service: str) -> list[str]:
    """What became of a service in the last plan, in order."""
    return [event.name for event in _told(tiny, Kind.SERVICE) if event.lane == service]


def struck(tiny: Running) -> list[str]:
    """Which faults were told."""
    return sorted(f"{event.lane} {event.name}" for event in _told(tiny, Kind.FAULT))


def _told(tiny: Running, kind: Kind) -> list[Event]:
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    return [event for event in events if event.kind is kind]


# ---------------------------------------------------------------------- at once


def test_a_service_that_is_killed_at_once_is_down_while_the_workload_goes_on(
    tiny: Running,
) -> None:
    assert passed(tiny.run(plan(inject("kill", service="carrier"), name="kill", during=(SEND,))))
    assert life(tiny, "carrier") == ["killed", "exited", "started", "ready"]
    assert struck(tiny) == ["carrier kill"]


def test_a_service_that_is_frozen_at_once_goes_on_where_it_was(tiny: Running) -> None:
    frozen = inject("freeze", service="carrier")
    assert passed(tiny.run(plan(frozen, name="freeze", during=(SEND,), then=(ARRIVED,))))
    assert life(tiny, "carrier") == ["frozen", "thawed"]
    assert struck(tiny) == ["carrier freeze"]


def test_a_service_that_is_restarted_at_once_is_there_for_the_workload(tiny: Running) -> None:
    again = inject("restart", service="desk")
    assert passed(tiny.run(plan(again, name="restart", then=(ARRIVED,))))
    assert life(tiny, "desk") == ["killed", "exited", "started", "ready"]
    assert struck(tiny) == ["desk restart"]


@pytest.mark.parametrize("word", ["kill", "freeze", "restart"])
def test_every_service_that_matches_is_struck(tiny: Running, word: str) -> None:
    look = step("parcel.make", name="q", place="a")
    late = inject("delay", at="before desk.make", seconds=0.001)
    outcome = tiny.run(
        plan(
            inject(word, service="*"), late, name=f"all-{word}",
            during=(start("desk"), look) if word == "kill" else (look,), settle=0.5,
        )
    )  # fmt: skip
    assert {f"carrier {word}", f"desk {word}"} <= {*struck(tiny)}
    assert outcome.verdict is (Verdict.VACUOUS if word == "freeze" else Verdict.PASS)


# ---------------------------------------------------------------------- while a call is under way


def test_who_comes_to_the_point_dies_with_its_service(tiny: Running) -> None:
    killed = inject("kill", at="before usage.give", service="desk")
    still_there = step("parcel.expect", parcel="p", place="a")
    assert passed(tiny.run(plan(killed, then=(still_there,))))


def test_another_service_dies_while_a_call_is_held_that_goes_on(tiny: Running) -> None:
    """The desk has stored the send and cannot wake a carrier that is dead."""
    killed = inject("kill", at="after send.store", service="carrier")
    assert passed(tiny.run(plan(killed, name="kill-other", during=(SEND,), then=(ARRIVED,))))
    events = tiny.journal.events(tiny.journal.trials()[-1].id, 1)
    places = {
        name: next(n for n, e in enumerate(events) if (e.kind, e.name) == (kind, name))
        for kind, name in ((Kind.SERVICE, "exited"), (Kind.OK, "parcel.send"))
    }
    assert places["exited"] < places["parcel.send"]


def test_a_call_may_be_held_in_the_service_that_is_frozen(tiny: Running) -> None:
    frozen = inject("freeze", at="before carry.put", service="carrier")
    assert passed(tiny.run(plan(frozen, during=(SEND,), then=(ARRIVED,))))


def test_a_call_goes_on_when_another_service_is_back(tiny: Running) -> None:
    again = inject("restart", at="before send.store", service="carrier")
    assert passed(tiny.run(plan(again, name="restart-other", during=(SEND,), then=(ARRIVED,))))
    assert life(tiny, "carrier") == ["killed", "exited", "started", "ready"]
    assert struck(tiny) == ["carrier restart"]


def test_it_strikes_the_nth_time(tiny: Running) -> None:
    at = Location(when=When.BEFORE, point="desk.move", occurrence=2)
    to_c = step("parcel.move", parcel="p", to="c")
    there = step("parcel.expect", parcel="p", place="b")
    killed = inject("kill", at=at, service="desk")
    assert passed(tiny.run(plan(killed, during=(MOVE, to_c), then=(there,))))


def test_a_point_that_is_never_reached_is_vacuous_and_nobody_is_struck(tiny: Running) -> None:
    never = inject("kill", at="before carry.put", service="desk")
    outcome = tiny.run(plan(never, name="never-killed"))
    assert outcome.verdict is Verdict.VACUOUS
    assert (life(tiny, "desk"), struck(tiny)) == ([], [])


# ---------------------------------------------------------------------- who is not there


@pytest.mark.parametrize("word", ["kill", "freeze", "restart"])
@pytest.mark.parametrize("at", [None, "before desk.move"])
def test_a_service_that_is_dead_already_is_not_struck(
    tiny: Running, word: str, at: str | None
) -> None:
    first = inject("kill", service="carrier")
    outcome = tiny.run(plan(first, inject(word, at=at, service="carrier")))
    assert outcome.verdict is Verdict.VACUOUS
    assert f"{word} `carrier` struck nothing: it was dead already" in outcome.reason


def test_a_frozen_service_can_be_killed(tiny: Running) -> None:
    frozen = inject("freeze", service="carrier")
    killed = inject("kill", at="before desk.send", service="carrier")
    assert passed(tiny.run(plan(frozen, killed, during=(SEND,), then=(ARRIVED,))))


def test_a_frozen_service_is_thawed_when_the_plan_does_not_recover_it(tiny: Running) -> None:
    frozen = inject("freeze", service="carrier")
    outcome = tiny.run(plan(frozen, during=(SEND,), recover=(), settle=0.3))
    assert outcome.violated == ("settles",)
    assert outcome.note == ""
    assert {s.state for s in tiny.session.words.target.services.values()} == {ServiceState.READY}


def test_a_service_that_does_not_exist_is_told_before_anything_runs(tiny: Running) -> None:
    with pytest.raises(UnboundPlan, match="no service `carier`; did you mean `carrier`"):
        tiny.run(plan(inject("kill", service="carier")))
