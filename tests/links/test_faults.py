"""The faults on links, each on the reference: it strikes, its effect is seen, it is gone."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.history import Event, Kind
from chaos.language.bind import UnboundPlan
from chaos.plan import Injection, Plan, inject, step
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running

VOLUME = step("volume.create", name="vol")
SERVER = step("server.create", name="vm")
ATTACH = step("volume.attach", server="vm", volume="vol")
LINK = "compute-*>volume"


def plan(*injections: Injection, **parts: Any) -> Plan:
    """A volume is attached to a server: the compute service asks the volume service."""
    return Plan(
        **{
            "name": "attach",
            "given": (VOLUME, SERVER),
            "during": (ATTACH,),
            "inject": injections,
            **parts,
        }
    )


def passed(outcome: Outcome) -> bool:
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    return True


def told(proxied: Running, kind: Kind, lane: str = "") -> list[Event]:
    events = proxied.journal.events(proxied.journal.trials()[-1].id, 1)
    return [event for event in events if event.kind is kind and lane in event.lane]


def clean(proxied: Running) -> bool:
    links = proxied.session.words.target.links
    server = links["client>api"].server  # type: ignore[attr-defined]
    assert all(proxy.enabled for proxy in server.proxies().values())
    assert not any(server.toxics(name) for name in links)
    return True


@pytest.mark.parametrize(
    ("word", "arguments"),
    [
        ("latency", {"seconds": 0.05, "jitter": 0.01}),
        ("bandwidth", {"kilobytes": 100}),
        ("slicer", {"size": 100, "variation": 20, "seconds": 0.0001}),
    ],
)
def test_what_passes_slowly_arrives(proxied: Running, word: str, arguments: dict[str, Any]) -> None:
    assert passed(proxied.run(plan(inject(word, link=LINK, **arguments))))
    struck, met = told(proxied, Kind.FAULT), told(proxied, Kind.UNDO, "compute")
    assert {event.name for event in struck} == {word}
    assert "bytes there" in met[0].data["text"]
    assert clean(proxied)


def test_latency_is_measured(proxied: Running) -> None:
    """Each way of the client's requests is late: no answer can come sooner than that."""
    late = plan(inject("latency", link="client>volume", seconds=0.2), during=(VOLUME,), given=())
    assert passed(proxied.run(late))
    asked, answered = (
        next(e for e in told(proxied, kind) if e.name == "volume.create")
        for kind in (Kind.INVOKE, Kind.OK)
    )
    assert answered.at_ns - asked.at_ns >= 0.4e9
    assert clean(proxied)


@pytest.mark.parametrize(
    ("word", "arguments"),
    [
        ("reset_peer", {}),
        ("timeout", {"seconds": 0.05}),
        ("limit_data", {"size": 10, "way": "back"}),
        ("limit_data", {"size": 100, "way": "back"}),  # within the headers
        ("limit_data", {"size": 400, "way": "back"}),
        ("down", {}),
    ],
)
def test_an_answer_that_was_cut_off_is_indeterminate(
    proxied: Running, word: str, arguments: dict[str, Any]
) -> None:
    """The request is on its way when the link breaks: the client does not know what came of it."""
    at = "before volume.create"
    cut = inject(word, at=at, link="client>volume", **arguments)
    assert passed(proxied.run(plan(cut, given=(), during=(step("volume.create", name="cut"),))))
    assert [event.name for event in told(proxied, Kind.INDETERMINATE)] == ["volume.create"]
    assert clean(proxied)


LOST = {"given": (), "during": (step("volume.create", name="lost"),), "settle": 2.0}
LATER = (
    step("volume.create", name="later"),
    step("volume.wait", volume="later", status="available"),
)


@pytest.mark.parametrize(
    "sides",
    [
        {"group": ["client"], "away": ["volume"]},
        {"group": ["volume"], "away": ["client"], "one_way": True},
    ],
)
def test_a_partition_loses_the_answer_and_heals(proxied: Running, sides: dict[str, Any]) -> None:
    apart = inject("partition", at="before volume.create", **sides)
    assert passed(proxied.run(plan(apart, then=LATER, **LOST)))
    assert [event.name for event in told(proxied, Kind.INDETERMINATE)] == ["volume.create"]
    assert clean(proxied)


def test_a_partition_that_lets_no_request_through_proves_nothing(proxied: Running) -> None:
    apart = inject("partition", group=["client"], away=["volume"], one_way=True)
    outcome = proxied.run(plan(apart, **LOST))
    assert outcome.verdict is Verdict.VACUOUS
    assert "Every operation of `during` (volume.create) was cut off" in outcome.reason
    assert clean(proxied)


def test_what_the_other_side_sends_passes_a_partition_of_one_way(proxied: Running) -> None:
    """The request is there already, and its answer arrives: what the client asks next is lost."""
    at = "before volume.create"
    apart = inject("partition", at=at, group=["client"], away=["volume"], one_way=True)
    assert passed(proxied.run(plan(apart, **LOST)))
    (lost,) = told(proxied, Kind.INDETERMINATE)
    assert "/v3/volumes/" in str(lost.data)  # it knows the new volume's id
    assert clean(proxied)


def test_a_link_that_nothing_passes_is_vacuous(proxied: Running) -> None:
    outcome = proxied.run(plan(inject("latency", link="compute-*>image", seconds=0.01)))
    assert outcome.verdict is Verdict.VACUOUS
    assert "Nothing passed compute-host1>image" in outcome.reason
    assert clean(proxied)


def test_a_connection_that_does_not_end_is_not_closed_slowly(proxied: Running) -> None:
    outcome = proxied.run(plan(inject("slow_close", link="client>volume", seconds=0.01)))
    assert outcome.verdict is Verdict.VACUOUS
    assert "No connection ended on client>volume while slow_close was there" in outcome.reason
    assert clean(proxied)


def test_a_link_that_does_not_exist_is_told_before_anything_runs(proxied: Running) -> None:
    with pytest.raises(UnboundPlan, match="no link `api>volum`; did you mean `api>volume`"):
        proxied.run(plan(inject("latency", link="api>volum", seconds=1)))
