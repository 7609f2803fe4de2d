"""What each invariant of the library sees in a world made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos.history import History, Kind
from chaos.invariant import Evidence, Invariant, Observation
from suites import invariants as library
from targets.cloud.world import (
    Allocation,
    Attachment,
    BlockDevice,
    CloudWorld,
    Guest,
    Instance,
    InstanceMapping,
    Volume,
)

VM = Instance("i1", "vm", "cell1", "host1", "active", None, 1, False, vcpus=1, ram=64, disk=1)
GUEST = Guest("host1", "i1", "running", ("v1",))
VOLUME = Volume("v1", "data", "in-use", 1)
ATTACHMENT = Attachment("a1", "v1", "i1", "attached")
DEVICE = BlockDevice("d1", "cell1", "i1", "v1", "a1", delete_on_termination=True)
ALLOCATIONS = tuple(
    Allocation("i1", "host1", resource, amount)
    for resource, amount in (("VCPU", 1), ("MEMORY_MB", 64), ("DISK_GB", 1))
)
GOOD = CloudWorld(
    instance_mappings=(InstanceMapping("i1", "cell1"),),
    instances=(VM,),
    block_devices=(DEVICE,),
    volumes=(VOLUME,),
    attachments=(ATTACHMENT,),
    allocations=ALLOCATIONS,
    guests=(GUEST,),
)
EMPTY = CloudWorld()


def found(item: Invariant, *worlds: CloudWorld, history: History | None = None) -> list[str]:
    """What an invariant says after these observations."""
    observations = tuple(Observation(str(at), at, world) for at, world in enumerate(worlds))
    return list(item.check(Evidence(observations, history or History())))


def ended(*operations: tuple[str, dict[str, str], Kind], status: int = 409) -> History:
    """A history of client operations and how each ended; the server `vm` was made before."""
    history = History()
    made = ("server.create", {"name": "vm"}, Kind.OK)
    for number, (name, arguments, kind) in enumerate((made, *operations)):
        history.add(Kind.INVOKE, "client", name, operation=number, arguments=arguments)
        facts: dict[str, Any] = {"answer": {"id": "i1"}} if kind is Kind.OK else {"status": status}
        history.add(kind, "client", name, operation=number, **facts)
    return history


DELETE_SERVER = ("server.delete", {"server": "vm"}, Kind.OK)


@pytest.mark.parametrize(
    "item", [v for v in vars(library).values() if isinstance(v, Invariant)], ids=lambda i: i.name
)
def test_a_good_world_violates_nothing(item: Invariant) -> None:
    assert found(item, GOOD, history=ended()) == []


@pytest.mark.parametrize(
    ("item", "wrong"),
    [
        (library.instances_at_rest, {"instances": (replace(VM, task_state="deleting"),)}),
        (library.instances_at_rest, {"instances": (replace(VM, vm_state="building"),)}),
        (library.guests_match_instances, {"guests": ()}),
        (library.guests_match_instances, {"instances": ()}),
        (library.guests_match_instances, {"guests": (GUEST, replace(GUEST, host="host2"))}),
        (library.guests_match_instances, {"guests": (replace(GUEST, host="host2"),)}),
        (library.guests_match_instances, {"guests": (replace(GUEST, power="shutdown"),)}),
        (library.guests_match_instances, {"instances": (replace(VM, hidden=True),)}),
        (library.guests_match_instances, {"instances": (VM, replace(VM, cell="cell2"))}),
        (library.allocations_match_instances, {"allocations": ALLOCATIONS[1:]}),
        (library.allocations_match_instances, {"instances": ()}),
        (library.attachments_match_block_devices, {"attachments": ()}),
        (library.attachments_match_block_devices, {"block_devices": ()}),
        (library.attachments_match_block_devices, {"volumes": ()}),
        (
            library.attachments_match_block_devices,
            {"volumes": (replace(VOLUME, status="reserved"),)},
        ),
        (
            library.attachments_match_block_devices,
            {"attachments": (replace(ATTACHMENT, status="reserved"),)},
        ),
        (
            library.attachments_match_block_devices,
            {"block_devices": (replace(DEVICE, volume="v2"),)},
        ),
        (
            library.attachments_match_block_devices,
            {"block_devices": (replace(DEVICE, instance="i2"),)},
        ),
    ],
)
def test_a_world_that_is_wrong_in_one_place_is_seen(item: Invariant, wrong: dict[str, Any]) -> None:
    assert found(item, replace(GOOD, **wrong))


def test_a_volume_that_nobody_asked_to_delete_survives() -> None:
    gone = replace(GOOD, volumes=())
    assert found(library.volumes_survive, GOOD, gone, history=ended())


def test_a_volume_may_go_with_the_server_that_its_user_deletes() -> None:
    assert found(library.volumes_survive, GOOD, EMPTY, history=ended(DELETE_SERVER)) == []


def test_a_volume_may_go_when_its_user_deletes_it() -> None:
    asked = ended(("volume.delete", {"volume": "data"}, Kind.INDETERMINATE))
    assert found(library.volumes_survive, GOOD, replace(GOOD, volumes=()), history=asked) == []


def test_a_volume_whose_delete_was_refused_survives() -> None:
    refused = ended(("volume.delete", {"volume": "data"}, Kind.FAIL))
    assert found(library.volumes_survive, GOOD, replace(GOOD, volumes=()), history=refused)


def test_a_delete_that_everything_of_the_server_is_gone_after_is_fulfilled() -> None:
    assert found(library.deletes_fulfilled, GOOD, EMPTY, history=ended(DELETE_SERVER)) == []


@pytest.mark.parametrize(
    "left", ["instances", "instance_mappings", "block_devices", "attachments", "allocations",
             "guests"],
)  # fmt: skip
def test_what_an_accepted_delete_leaves_is_seen(left: str) -> None:
    world = replace(EMPTY, **{left: getattr(GOOD, left)})
    assert found(library.deletes_fulfilled, GOOD, world, history=ended(DELETE_SERVER))


def test_a_server_error_is_seen_and_a_refusal_is_none() -> None:
    failed = ("server.delete", {"server": "vm"}, Kind.FAIL)
    assert found(library.no_server_error, GOOD, history=ended(failed, status=500))
    assert not found(library.no_server_error, GOOD, history=ended(failed, status=409))
