"""Faults on the links between containers: on the network of the run, and to both servers."""

from __future__ import annotations

import pytest

from chaos.history import Kind
from chaos.plan import Plan, inject, step
from chaos.verdict import Verdict
from tests.conftest import Running

pytestmark = [
    pytest.mark.timeout(900),
    # The docker package leaves streams that have ended to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("link", ["compute-*>volume", "volume>database", "api>bus"])
def test_a_slow_link_between_containers_is_passed(contained: Running, link: str) -> None:
    if "links" not in contained.session.words.target.capabilities:
        pytest.skip("there is no toxiproxy for these tests")
    slow = Plan(
        name="slow",
        given=(step("volume.create", name="vol"), step("server.create", name="vm")),
        during=(step("volume.attach", server="vm", volume="vol"),),
        inject=(inject("latency", link=link, seconds=0.02),),
    )
    outcome = contained.run(slow)
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    events = contained.journal.events(contained.journal.trials()[-1].id, 1)
    (met,) = [event for event in events if event.kind is Kind.UNDO and event.name == "latency"]
    assert "bytes there" in met.data["text"]
