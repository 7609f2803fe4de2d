"""Which services are up is told by evidence: the broker knows of a death as soon as it happened."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from targets.reference.nova.services import COMPUTE, CONDUCTOR, SCHEDULER, Service
from tests.reference.nova.conftest import Cloud


def listening(cloud: Cloud) -> frozenset[str]:
    found = cloud.target.bus.listening()
    assert isinstance(found, frozenset)
    return found


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


def force_down(cloud: Cloud, host: str) -> None:
    file = cloud.target.run_dir / "nova_cell1.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("UPDATE services SET forced_down = 1 WHERE host = ?", [host])


def test_a_server_of_a_host_that_is_forced_down_is_deleted_at_once_and_its_guest_too(
    cloud: Cloud,
) -> None:
    cloud.do("server.create", "vm")
    held = cloud.hold("before compute.terminate", actor="req-delete")
    force_down(cloud, "host1")
    cloud.do("server.delete", "vm", actor="req-delete")
    hit = cloud.struck(held)
    left = cloud.target.observe()
    assert (left.instances, left.ports, left.allocations, len(left.guests)) == ((), (), (), 1)
    hit.release()
    assert cloud.left_over() == []


def test_a_compute_that_is_back_removes_the_guests_that_were_deleted_without_it(
    cloud: Cloud,
) -> None:
    cloud.do("server.create", "vm")
    cloud.target.services["compute-host1"].kill()
    cloud.do("server.delete", "vm")
    cloud.do("server.wait_gone", "vm")
    assert [guest.host for guest in cloud.target.observe().guests] == ["host1"]
    cloud.target.services["compute-host1"].start()
    assert cloud.left_over() == []
