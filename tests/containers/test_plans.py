"""The headline plans in containers, unchanged: the same verdicts, and the same evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.engine.case import cases
from chaos.history import Event, Kind
from chaos.language.loader import load
from chaos.plan import Plan, inject, step
from chaos.verdict import Verdict
from targets.containers.engine import gateway
from tests.conftest import Running

SUITES = Path(__file__).parents[2] / "suites"
pytestmark = [
    pytest.mark.timeout(900),  # thirteen containers, on a machine that does much beside it
    # The docker package leaves streams that have ended to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize(
    "path",
    [
        "delete_while_booting/race-two-deletes",
        "restart_recovery/kill-compute-mid-reboot",
        "volume_detach/delay-bdm-deletion",
    ],
)
def test_a_headline_plan_passes(contained: Running, path: str) -> None:
    for source in load(SUITES / f"{path}.plan.yaml"):
        for case in cases(source, bugs=False):
            outcome = contained.run_case(case)
            assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")


def _plan(word: str) -> Plan:
    return Plan(
        name=word,
        during=(
            step("server.create", name="vm"),
            step("server.wait", server="vm", status="ACTIVE"),
        ),
        inject=(inject(word, at="before compute.build", service="scheduler"),),
    )


def _told(contained: Running, kind: Kind) -> list[Event]:
    events = contained.journal.events(contained.journal.trials()[-1].id, 1)
    return [event for event in events if event.kind is kind and event.lane == "scheduler"]


def test_a_killed_container_comes_back(contained: Running) -> None:
    outcome = contained.run(_plan("kill"))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    told = [event.name for event in _told(contained, Kind.SERVICE)]
    assert told == ["killed", "exited", "started", "ready"]


def test_a_frozen_container_is_paused_and_goes_on(contained: Running) -> None:
    outcome = contained.run(_plan("freeze"))
    assert (outcome.verdict, outcome.reason) == (Verdict.PASS, "")
    assert [event.name for event in _told(contained, Kind.SERVICE)] == ["frozen", "thawed"]


# ---------------------------------------------------------------------- how they are made


def _containers(contained: Running, engine: Any) -> list[Any]:
    ours = {"label": f"chaos.run={contained.session.label}"}
    return list(engine.containers.list(filters=ours))


def _struck(contained: Running, engine: Any) -> list[dict[str, str]]:
    """The environments of the services that faults strike at points: all but the two servers."""
    found = [
        dict(text.split("=", 1) for text in one.attrs["Config"]["Env"])
        for one in _containers(contained, engine)
        if one.labels["chaos.service"] not in ("database", "bus")
    ]
    assert len(found) == 12
    return found


def test_each_service_is_a_container_of_the_run_alone(contained: Running, engine: Any) -> None:
    found = {one.labels["chaos.service"]: one for one in _containers(contained, engine)}
    assert {*found} == {*contained.session.words.target.services}
    for one in found.values():
        config, host = one.attrs["Config"], one.attrs["HostConfig"]
        assert config["User"] not in ("", "0", "0:0", "root")
        assert host["Init"] is True
        assert not host["Privileged"]
        assert [*one.attrs["NetworkSettings"]["Networks"]] == [f"chaos-{contained.session.label}"]


def test_the_token_is_in_a_file_that_others_cannot_read(contained: Running, engine: Any) -> None:
    for environment in _struck(contained, engine):
        assert "CHAOS_TOKEN" not in environment
        token = Path(environment["CHAOS_TOKEN_FILE"])
        assert token.stat().st_mode & 0o077 == 0
        assert token.read_text()


def test_the_controller_listens_on_a_gateway_only(contained: Running, engine: Any) -> None:
    for environment in _struck(contained, engine):
        assert environment["CHAOS_CONTROLLER"].rpartition(":")[0] == gateway(engine)
