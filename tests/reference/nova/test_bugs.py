"""Each bug switch brings its defect back, and only with the switch on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.action import Action
from chaos.history import History
from chaos.invariant import Evidence, Observation
from chaos.operation import OperationFailed
from suites.invariants import quota_matches_servers
from targets.reference import bugs
from tests.reference.nova.asking import Asking
from tests.reference.nova.conftest import Cloud

WithBugs = Callable[..., Cloud]


def test_every_switch_says_what_it_is() -> None:
    assert {"lp1072751", "lp1914777", "lp2067869"} <= set(bugs.available())
    assert all(line.endswith(".") for line in bugs.available().values())


def test_an_unknown_switch_is_refused() -> None:
    with pytest.raises(LookupError, match="no bug switch `lp1`; there are both_cells_visible"):
        bugs.apply_named(["lp1"])


@pytest.mark.parametrize(
    ("switches", "expected"),
    [((), ("active", None)), (("lp1072751",), ("active", "reboot_started"))],
)
def test_lp1072751_leaves_a_reboot_stuck(
    with_bugs: WithBugs, switches: tuple[str, ...], expected: tuple[str, str | None]
) -> None:
    cloud = with_bugs(*switches)
    cloud.do("server.create", "vm")
    crash = cloud.arm("before hypervisor.start", Action.crash())
    cloud.do("server.reboot", "vm", type="SOFT")
    cloud.restart(cloud.struck(crash))
    (instance,) = cloud.settled().instances
    assert (instance.vm_state, instance.task_state) == expected


@pytest.mark.parametrize(("switches", "survivors"), [((), 1), (("lp2067869",), 0)])
def test_lp2067869_deletes_a_volume_that_was_detached(
    with_bugs: WithBugs, switches: tuple[str, ...], survivors: int
) -> None:
    cloud = with_bugs(*switches)
    cloud.do("volume.create", "data")
    cloud.do("server.create", "vm")
    cloud.do("volume.attach", "vm", "data", delete_on_termination=True)
    held = cloud.hold("before bdm.destroy")
    cloud.do("volume.detach", "vm", "data", wait="available")
    hit = cloud.struck(held)
    cloud.do("server.delete", "vm", actor="req-delete")
    hit.release()
    assert len(cloud.settled().volumes) == survivors


def second_delete(cloud: Cloud) -> int | None:
    """Let a delete find that another one was faster; return its status."""
    builder = cloud.hold("before conductor.build", actor="req-create")
    cloud.do("server.create", "vm", wait="", actor="req-create")
    build = cloud.struck(builder)
    held = cloud.hold("before build_request.destroy", actor="req-slow")
    slow = cloud.begin("server.delete", "vm", actor="req-slow")
    hit = cloud.struck(held)
    cloud.do("server.delete", "vm", actor="req-fast")
    hit.release()
    build.release()
    try:
        return int(slow.result()["status"])
    except OperationFailed as failed:
        return failed.status


@pytest.mark.parametrize(("switches", "status"), [((), 204), (("lp1914777",), 500)])
def test_lp1914777_fails_the_slower_of_two_deletes(
    with_bugs: WithBugs, switches: tuple[str, ...], status: int
) -> None:
    assert second_delete(with_bugs(*switches)) == status


@pytest.mark.parametrize(("switches", "counted"), [((), 0), (("lp1078668",), 1)])
def test_lp1078668_counts_a_server_that_an_administrator_deleted(
    with_bugs: WithBugs, switches: tuple[str, ...], counted: int
) -> None:
    cloud = with_bugs(*switches)
    vm = cloud.do("server.create", "vm")["id"]
    admin = Asking(cloud.target, "admin")
    assert admin("DELETE", f"/servers/{vm}").status_code == 204
    admin.close()
    world = cloud.settled()
    assert world.instances == ()
    assert len(world.quota_usages) == counted
    evidence = Evidence((Observation("after", 0, world),), History())
    assert len([*quota_matches_servers.check(evidence)]) == counted
