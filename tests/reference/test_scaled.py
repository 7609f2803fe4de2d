"""Two APIs and two conductors serve one control plane of two cells, and a plan can name each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Controller
from chaos.operation import OperationIndeterminate
from chaos.point import When, means
from chaos.target import Instrumentation
from targets.embedded.layout import Layout
from targets.embedded.target import Wide
from tests.reference.nova.conftest import Cloud


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    target, label = Wide(), f"test-{secrets.token_hex(4)}"
    with Controller(label=label, request_id_reader=target.request_id_reader) as controller:
        run_dir = tmp_path_factory.mktemp("scaled")
        environment = controller.environment
        target.start(Instrumentation(label, run_dir, environment, lambda *_: None), frozenset())
        cloud = Cloud(target, controller)
        try:
            yield cloud
        finally:
            cloud.threads.shutdown()
            target.stop()


@pytest.fixture
def cloud(booted: Cloud) -> Iterator[Cloud]:
    booted.target.reset(frozenset())
    yield booted
    booted.controller.disarm_all()


@pytest.mark.parametrize(
    ("pattern", "service", "expected"),
    [
        ("api", "api-2", True),
        ("api-2", "api-2", True),
        ("api-1", "api-2", False),
        ("compute", "compute-host1", False),
        ("compute-*", "compute-host1", True),
    ],
)
def test_the_name_of_a_kind_means_each_of_several(
    pattern: str, service: str, expected: bool
) -> None:
    assert means(pattern, service) is expected


def test_one_of_a_kind_has_no_number() -> None:
    assert Layout(apis=1, conductors=3).conductor_services == (
        "conductor-1", "conductor-2", "conductor-3",
    )  # fmt: skip
    assert Layout(apis=1, conductors=3).api_services == ("api",)


def served_by(cloud: Cloud, request: str) -> str:
    """The API that a request goes to."""
    arm = cloud.controller.arm(
        cloud.target.points["instance_mapping.get"], When.BEFORE, Action.record(),
        alias="get", requests=(request,), services="api",
    )  # fmt: skip
    cloud.do("server.delete", "vm", actor=request)
    return cloud.struck(arm).service


def test_requests_go_to_the_apis_in_turn(cloud: Cloud) -> None:
    cloud.do("server.create", "vm")
    requests = [cloud.target.new_request_id() for _ in range(3)]
    assert [served_by(cloud, request) for request in requests] == ["api-1", "api-2", "api-1"]


def test_the_turns_are_the_same_in_each_round(cloud: Cloud) -> None:
    first = cloud.target.new_request_id()
    cloud.target.reset(frozenset())
    assert cloud.target.new_request_id()[-1] == first[-1]


def test_the_requests_of_a_dead_api_go_to_the_other(cloud: Cloud) -> None:
    cloud.do("server.create", "vm")
    cloud.target.services["api-1"].kill()
    assert served_by(cloud, "req-0") == "api-2"
    cloud.target.services["api-1"].start()


def test_a_build_goes_on_when_one_of_two_conductors_is_dead(cloud: Cloud) -> None:
    cloud.target.services["conductor-1"].kill()
    cloud.do("server.create", "vm", wait="ACTIVE")
    cloud.target.services["conductor-1"].start()


def test_a_build_that_died_with_its_conductor_is_taken_up_when_any_conductor_starts(
    cloud: Cloud,
) -> None:
    crash = cloud.arm("before instance.create", Action.crash(), services="conductor")
    with suppress(OperationIndeterminate):
        cloud.do("server.create", "vm", wait="")
    dead = cloud.struck(crash).service
    (other,) = {"conductor-1", "conductor-2"} - {dead}
    cloud.target.services[other].kill()
    cloud.target.services[other].start()
    cloud.do("server.wait", "vm", "ACTIVE")
    cloud.target.services[dead].start()


def test_a_message_of_a_conductor_that_dies_before_it_takes_it_goes_to_the_other(
    cloud: Cloud,
) -> None:
    crash = cloud.arm("before bus.take", Action.crash(), actor=None, services="conductor")
    cloud.do("server.create", "vm", wait="ACTIVE")
    cloud.restart(cloud.struck(crash))


def test_a_server_comes_into_the_cell_of_its_host(cloud: Cloud) -> None:
    made = [
        cloud.do("server.create", f"vm{n}", flavor="m1.large", networks="none")["id"]
        for n in range(9)
    ]
    world = cloud.settled()
    homes = {instance.uuid: (instance.host, instance.cell) for instance in world.instances}
    assert homes[made[0]] == ("host1", "cell1")
    assert homes[made[-1]] == ("host3", "cell2")
    mapped = {mapping.instance: mapping.cell for mapping in world.instance_mappings}
    assert all(mapped[uuid] == homes[uuid][1] for uuid in made)
