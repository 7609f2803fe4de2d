"""Which services are up is told by evidence: the broker knows of a death as soon as it happened."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from targets.reference.nova.services import COMPUTE, CONDUCTOR, SCHEDULER, Service
from tests.reference.nova.conftest import Cloud


def listening(cloud: Cloud) -> frozenset[str]:
    return cloud.target.bus.listening()


def records(cloud: Cloud, cell: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(cloud.target.run_dir / f"nova_{cell}.sqlite")) as database:
        return database.execute("SELECT binary, host FROM services ORDER BY 1, 2").fetchall()


def test_each_service_has_written_itself_down_once(cloud: Cloud) -> None:
    for name in ("scheduler", "conductor", "compute-host1"):
        cloud.target.services[name].kill()
        cloud.target.services[name].start()
    assert records(cloud, "cell0") == [(CONDUCTOR, "conductor"), (SCHEDULER, "scheduler")]
    assert records(cloud, "cell1") == [(COMPUTE, "host1"), (COMPUTE, "host2")]


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("scheduler", "scheduler.scheduler"),
        ("conductor", "conductor.conductor"),
        ("compute-host1", "compute.host1"),
    ],
)
def test_a_service_listens_until_it_is_killed_and_again_once_it_is_ready(
    cloud: Cloud, name: str, queue: str
) -> None:
    service, found = cloud.target.services[name], [queue in listening(cloud)]
    service.kill()
    found.append(queue in listening(cloud))
    service.start()
    found.append(queue in listening(cloud))
    assert found == [True, False, True]


@pytest.mark.parametrize(
    ("forced_down", "queues", "expected"),
    [
        (False, {"compute.host1"}, True),
        (False, {"compute.host2"}, False),
        (True, {"compute.host1"}, False),
    ],
)
def test_up_is_who_listens_and_is_not_forced_down(
    forced_down: bool, queues: set[str], expected: bool
) -> None:
    service = Service(
        cell="cell1",
        id=1,
        uuid="u",
        binary=COMPUTE,
        host="host1",
        disabled=False,
        disabled_reason=None,
        forced_down=forced_down,
        created_at="",
        updated_at="",
        last_seen_up="",
    )
    assert service.is_up(queues) is expected
