"""A delete is always fulfilled, and leaves nothing, whatever else happens to the server."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Hit
from tests.reference.nova.conftest import Cloud

STAGES = [
    "before conductor.build",
    "after scheduler.select",
    "before allocation.claim",
    "after allocation.claim",
    "before instance.create",
    "after instance.create",
    "before instance_mapping.set_cell",
    "after instance_mapping.set_cell",
    "after build_request.destroy",
    "before instance.claim",
    "after instance.claim",
    "before port.create",
    "after port.create",
    "before attachment.connect",
    "before hypervisor.define",
    "after hypervisor.start",
    "after attachment.complete",
]
"""Where a build can be when the delete comes, in order."""


def boot_held(cloud: Cloud, stage: str) -> Hit:
    """Boot a server with a volume and hold its build at ``stage``."""
    cloud.do("volume.create", "data")
    held = cloud.hold(stage, actor="req-create")
    cloud.do("server.create", "vm", wait="", volumes=["data"], actor="req-create")
    return cloud.struck(held)


def only_the_volume_is_left(cloud: Cloud) -> bool:
    return [getattr(record, "status", record) for record in cloud.left_over()] == ["available"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_deleted_at_any_stage_of_its_build_leaves_nothing(
    cloud: Cloud, stage: str
) -> None:
    build = boot_held(cloud, stage)
    assert cloud.do("server.delete", "vm")["status"] == 204
    build.release()
    assert only_the_volume_is_left(cloud)


@pytest.mark.parametrize("stage", STAGES)
def test_many_deletes_at_once_are_all_fulfilled(cloud: Cloud, stage: str) -> None:
    build = boot_held(cloud, stage)
    deletes = [cloud.begin("server.delete", "vm", actor=f"req-{number}") for number in range(10)]
    statuses = {delete.result()["status"] for delete in deletes}
    build.release()
    assert statuses <= {204, 404}
    assert only_the_volume_is_left(cloud)


@pytest.mark.parametrize("stage", STAGES)
def test_a_delete_survives_the_death_of_the_builder(cloud: Cloud, stage: str) -> None:
    """The builder dies after the delete was accepted, with whatever it had made until then."""
    build = boot_held(cloud, stage)
    assert cloud.do("server.delete", "vm")["status"] == 204
    service = cloud.target.services[build.service]
    service.kill()
    service.start()
    assert only_the_volume_is_left(cloud)


def test_a_second_delete_takes_the_records_away_under_the_first(cloud: Cloud) -> None:
    build = boot_held(cloud, "before conductor.build")
    held = cloud.hold("before build_request.destroy", actor="req-first")
    first = cloud.begin("server.delete", "vm", actor="req-first")
    hit = cloud.struck(held)
    assert cloud.do("server.delete", "vm", actor="req-second")["status"] == 204
    hit.release()
    assert first.result()["status"] == 204
    build.release()
    assert only_the_volume_is_left(cloud)


def test_the_conductor_removes_the_instance_under_a_delete(cloud: Cloud) -> None:
    """The mapping goes from no cell to a cell between the delete's two looks at it."""
    build = boot_held(cloud, "after instance.create")
    held = cloud.hold("before instance.save", actor="req-delete", services="api")
    delete = cloud.begin("server.delete", "vm", actor="req-delete")
    hit = cloud.struck(held)
    given_up = cloud.arm("after instance.destroy", Action.record(), actor="req-create")
    build.release()
    cloud.struck(given_up)
    hit.release()
    assert delete.result()["status"] == 204
    assert only_the_volume_is_left(cloud)


@pytest.mark.parametrize(
    "step",
    [
        "after instance_mapping.queue_for_delete",
        "after build_request.destroy",
        "before attachment.delete",
        "after attachment.delete",
    ],
)
def test_a_delete_of_a_booting_server_whose_api_dies_is_finished(cloud: Cloud, step: str) -> None:
    build = boot_held(cloud, "before conductor.build")
    crash = cloud.arm(step, Action.crash(), services="api")
    cloud.try_to("server.delete", "vm")
    build.release()
    cloud.restart(cloud.struck(crash))
    cloud.settled()
    cloud.do("server.delete", "vm")
    assert only_the_volume_is_left(cloud)


def test_a_server_that_fits_nowhere_gives_its_volume_back(cloud: Cloud) -> None:
    for number in range(8):
        cloud.do("server.create", f"vm{number}", flavor="m1.large", networks="none")
    cloud.do("volume.create", "data")
    cloud.do("server.create", "vm", flavor="m1.large", wait="ERROR", volumes=["data"])
    cloud.do("volume.expect", "data", status="available")
    cloud.do("server.delete", "vm")
    cloud.settled()
    cloud.do("volume.expect", "data", status="available")


def test_a_volume_that_ends_with_its_server_ends_with_one_that_boots(cloud: Cloud) -> None:
    cloud.do("volume.create", "data")
    held = cloud.hold("before conductor.build", actor="req-create")
    ends = {"volumes": ["data"], "delete_on_termination": True}
    cloud.do("server.create", "vm", wait="", actor="req-create", **ends)
    build = cloud.struck(held)
    cloud.do("server.delete", "vm")
    build.release()
    assert cloud.left_over() == []
