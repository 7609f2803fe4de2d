"""What each invariant of the library sees in a world made for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaos.history import History, Kind
from chaos.invariant import Evidence, Invariant, Observation, collect
from suites import invariants as library
from targets.cloud.world import (
    Allocation,
    Attachment,
    BlockDevice,
    CloudWorld,
    ComputeNode,
    Guest,
    HostConnection,
    Instance,
    InstanceAction,
    InstanceMapping,
    Migration,
    Notification,
    Port,
    QuotaUsage,
    Usage,
    Volume,
)

VM = Instance(
    "i1", "vm", "cell1", "host1", "active", None, 1, False, vcpus=1, ram=64, disk=1, ports=("p1",)
)
GUEST = Guest("host1", "i1", "running", ("v1",))
VOLUME = Volume("v1", "data", "in-use", 1)
ATTACHMENT = Attachment("a1", "v1", "i1", "attached")
DEVICE = BlockDevice("d1", "cell1", "i1", "v1", "a1", delete_on_termination=True)
ALLOCATIONS = tuple(
    Allocation("i1", "host1", resource, amount)
    for resource, amount in (("VCPU", 1), ("MEMORY_MB", 64), ("DISK_GB", 1))
)
CREATED = InstanceAction("req-1", "i1", "create", finished=True, result="Success")
TOLD = Notification("cell1", 1, "req-1", "i1", "instance.create", "start", "host1")
NODE = ComputeNode("host1", "cell1", has=Usage(4, 256, 8), used=Usage(1, 64, 1))
GOOD = CloudWorld(
    instance_mappings=(InstanceMapping("i1", "cell1"),),
    quota_usages=(QuotaUsage("p1", "i1"),),
    instances=(VM,),
    block_devices=(DEVICE,),
    volumes=(VOLUME,),
    attachments=(ATTACHMENT,),
    allocations=ALLOCATIONS,
    guests=(GUEST,),
    host_connections=(HostConnection("host1", "v1"),),
    actions=(CREATED,),
    notifications=(TOLD, replace(TOLD, number=2, phase="end")),
    ports=(Port("p1", "i1", "host1", "ACTIVE"),),
    compute_nodes=(NODE, replace(NODE, host="host2", used=Usage(0, 0, 0))),
)
OLD, NEW = Usage(1, 64, 1), Usage(2, 128, 2)
MOVED = replace(VM, host="host2", vm_state="resized", vcpus=2, ram=128, disk=2)
MOVE = Migration("m1", "cell1", "i1", "resize", "finished", "host1", "host2", OLD, NEW)
RESIZED = replace(
    GOOD,
    instances=(MOVED,),
    migrations=(MOVE,),
    guests=(replace(GUEST, host="host2"), replace(GUEST, power="shutdown", disks=())),
    allocations=(
        *(replace(a, consumer="m1") for a in ALLOCATIONS),
        *(replace(a, provider="host2", amount=2 * a.amount) for a in ALLOCATIONS),
    ),
    host_connections=(HostConnection("host2", "v1"),),
    ports=(Port("p1", "i1", "host2", "ACTIVE"),),
    compute_nodes=(replace(NODE, used=OLD), replace(NODE, host="host2", used=NEW)),
)
"""The server has moved to the other host, and waits for its user's decision."""
EMPTY = CloudWorld()


def found(item: Invariant, *worlds: CloudWorld, history: History | None = None) -> list[str]:
    """What an invariant says after these observations, which come after the history."""
    observations = tuple(Observation("", time.monotonic_ns(), world) for world in worlds)
    return list(item.check(Evidence(observations, history or History())))


class Story:
    """A history, told one client operation at a time."""

    def __init__(self) -> None:
        self.history = History()
        self._number = 0

    def asks(self, operation: str, *, allow: tuple[int, ...] = (), **arguments: Any) -> int:
        """An operation begins."""
        self._number += 1
        self.history.add(
            Kind.INVOKE, "client", operation,
            actor="user", operation=self._number, arguments=arguments, allow=allow,
        )  # fmt: skip
        return self._number

    def hears(self, number: int, kind: Kind = Kind.OK, **facts: Any) -> None:
        """The operation ends."""
        self.history.add(kind, "client", "", operation=number, **facts)

    def does(self, operation: str, answer: dict[str, Any] | None = None, **arguments: Any) -> Story:
        """An operation succeeds."""
        self.hears(self.asks(operation, **arguments), answer=answer or {})
        return self

    def loses(self, operation: str, **arguments: Any) -> Story:
        """The answer to an operation is lost."""
        self.hears(self.asks(operation, **arguments), Kind.INDETERMINATE)
        return self

    def is_refused(self, operation: str, status: int | None = 409, **arguments: Any) -> Story:
        """An operation fails."""
        self.hears(self.asks(operation, **arguments), Kind.FAIL, status=status)
        return self

    def creates(self, **arguments: Any) -> Story:
        """The server of :data:`GOOD` is made."""
        return self.does("server.create", {"id": "i1"}, name="vm", **arguments)

    def attaches(self, delete_on_termination: bool = True) -> Story:
        """The volume of :data:`GOOD` is attached to it."""
        return self.does(
            "volume.attach", server="vm", volume="data", delete_on_termination=delete_on_termination
        )

    def deletes(self) -> Story:
        """The server is deleted."""
        return self.does("server.delete", server="vm")


def story() -> Story:
    """One that begins with a server."""
    return Story().creates()


@pytest.mark.parametrize(
    "item", [v for v in vars(library).values() if isinstance(v, Invariant)], ids=lambda i: i.name
)
def test_a_good_world_violates_nothing(item: Invariant) -> None:
    assert found(item, GOOD, history=story().history) == []
    assert found(item, RESIZED, history=story().history) == []


@pytest.mark.parametrize(
    ("item", "wrong"),
    [
        (library.usage_tracked, {"migrations": ()}),
        (library.usage_tracked, {"migrations": (replace(MOVE, status="confirmed"),)}),
        (library.usage_tracked, {"instances": (replace(MOVED, host="host1"),)}),
        (library.usage_tracked, {"compute_nodes": (replace(NODE, used=NEW),)}),
        (library.usage_tracked, {"migrations": (replace(MOVE, source="host2"),)}),
        (library.migrations_end, {"instances": (replace(MOVED, vm_state="active"),)}),
        (library.migrations_end, {"migrations": (replace(MOVE, status="confirming"),)}),
        (library.migrations_end, {"instances": (), "migrations": (MOVE,)}),
        (library.allocations_match_instances, {"migrations": ()}),
        (library.guests_match_instances, {"migrations": ()}),
        (
            library.guests_match_instances,
            {"guests": (replace(GUEST, host="host2"), replace(GUEST, disks=()))},
        ),
        (library.guests_match_instances, {"guests": (replace(GUEST, power="shutdown"),)}),
    ],
)
def test_a_move_that_is_not_as_it_should_be_is_seen(item: Invariant, wrong: dict[str, Any]) -> None:
    assert found(item, replace(RESIZED, **wrong))


def test_a_host_may_be_overbooked_only_by_servers_that_leave() -> None:
    full = replace(NODE, has=Usage(1, 64, 1), used=Usage(2, 128, 2))
    pair = (VM, replace(VM, uuid="i2", task_state="deleting"))
    assert found(library.usage_tracked, CloudWorld(instances=pair, compute_nodes=(full,))) == []
    stays = (VM, replace(VM, uuid="i2"))
    assert found(library.usage_tracked, CloudWorld(instances=stays, compute_nodes=(full,)))


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
        (library.guests_match_instances, {"guests": (replace(GUEST, power="paused"),)}),
        (library.guests_match_instances, {"guests": (replace(GUEST, disks=()),)}),
        (library.guests_match_instances, {"block_devices": ()}),
        (library.guests_match_instances, {"instances": (replace(VM, power_state=4),)}),
        (library.guests_match_instances, {"instances": (replace(VM, hidden=True),)}),
        (library.guests_match_instances, {"instances": (VM, replace(VM, cell="cell2"))}),
        (library.allocations_match_instances, {"allocations": ALLOCATIONS[1:]}),
        (library.allocations_match_instances, {"instances": ()}),
        (library.attachments_match_block_devices, {"attachments": ()}),
        (library.attachments_match_block_devices, {"block_devices": ()}),
        (library.attachments_match_block_devices, {"volumes": ()}),
        (library.attachments_match_block_devices, {"host_connections": ()}),
        (library.actions_are_told, {"actions": ()}),
        (library.ports_match_interfaces, {"ports": ()}),
        (library.ports_match_interfaces, {"instances": ()}),
        (library.ports_match_interfaces, {"instances": (replace(VM, ports=()),)}),
        (library.ports_match_interfaces, {"instances": (replace(VM, host="host2"),)}),
        (library.actions_are_told, {"actions": (CREATED, replace(CREATED, finished=False))}),
        (library.actions_are_told, {"notifications": (TOLD,)}),
        (library.actions_are_told, {"notifications": (replace(TOLD, phase="end"),)}),
        (library.actions_are_told, {"notifications": (TOLD, TOLD, replace(TOLD, phase="end"))}),
        (library.actions_are_told, {"notifications": (replace(TOLD, phase="error"), TOLD)}),
        (
            library.attachments_match_block_devices,
            {"guests": (replace(GUEST, disks=()),), "block_devices": (), "attachments": ()},
        ),
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
        (
            library.attachments_match_block_devices,
            {
                "block_devices": (DEVICE, replace(DEVICE, id="d2", attachment="a2")),
                "attachments": (ATTACHMENT, replace(ATTACHMENT, id="a2")),
            },
        ),
    ],
)
def test_a_world_that_is_wrong_in_one_place_is_seen(item: Invariant, wrong: dict[str, Any]) -> None:
    assert found(item, replace(GOOD, **wrong))


LOST = (GOOD, replace(GOOD, volumes=()))
"""Worlds in which a volume is deleted."""


def test_a_volume_that_nobody_asked_to_delete_survives() -> None:
    assert found(library.volumes_survive, *LOST, history=story().attaches().history)


def test_a_volume_may_go_with_the_server_that_its_user_deletes() -> None:
    told = story().attaches().deletes()
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history) == []


def test_a_volume_may_go_with_its_server_whatever_was_seen_of_it_last() -> None:
    """A look amid the delete finds the attachment gone, or the block device."""
    told = story().attaches().deletes()
    for table in ("attachments", "block_devices", "instances"):
        amid = replace(GOOD, **{table: ()})
        assert found(library.volumes_survive, GOOD, amid, EMPTY, history=told.history) == []


@pytest.mark.parametrize("outcome", ["answered", "lost", "ended in ERROR"])
def test_a_volume_may_go_with_the_server_that_booted_with_it(outcome: str) -> None:
    told, arguments = Story(), {"volumes": ["data"], "delete_on_termination": True}
    match outcome:
        case "answered":
            told.creates(**arguments)
        case "lost":
            told.loses("server.create", name="vm", **arguments)
        case _:
            told.is_refused("server.create", None, name="vm", **arguments)
    told.does("server.delete", {"status": 204, "server": "i1"}, server="vm")
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history) == []


def test_a_volume_does_not_go_with_a_server_unless_it_was_attached_so() -> None:
    told = story().attaches(delete_on_termination=False).deletes()
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history)


def test_a_volume_does_not_go_with_another_server() -> None:
    told = story().attaches().does("server.create", {"id": "i2"}, name="other")
    told.does("server.delete", server="other")
    assert found(library.volumes_survive, *LOST, history=told.history)


def test_a_volume_does_not_go_with_a_server_whose_delete_was_refused() -> None:
    told = story().attaches().is_refused("server.delete", server="vm")
    assert found(library.volumes_survive, *LOST, history=told.history)


def test_a_detach_that_was_accepted_before_the_delete_protects_its_volume() -> None:
    told = story().attaches().does("volume.detach", server="vm", volume="data").deletes()
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history)


def test_a_volume_that_was_attached_again_may_go_with_its_server() -> None:
    told = story().attaches().does("volume.detach", server="vm", volume="data").attaches()
    assert not found(library.volumes_survive, GOOD, EMPTY, history=told.deletes().history)


@pytest.mark.parametrize("status", [409, 503, None])
def test_a_detach_that_failed_protects_nothing(status: int | None) -> None:
    told = story().attaches().is_refused("volume.detach", status, server="vm", volume="data")
    assert not found(library.volumes_survive, GOOD, EMPTY, history=told.deletes().history)


def test_a_detach_whose_answer_was_lost_protects_nothing() -> None:
    told = story().attaches().loses("volume.detach", server="vm", volume="data").deletes()
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history) == []


def test_of_a_detach_and_a_delete_at_the_same_time_either_may_win() -> None:
    told = story().attaches()
    detach = told.asks("volume.detach", server="vm", volume="data")
    delete = told.asks("server.delete", server="vm")
    told.hears(detach)
    told.hears(delete)
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history) == []


def keeps(told: Story, ends: bool = False) -> Story:
    return told.does("volume.keep", server="vm", volume="data", delete_on_termination=ends)


def test_a_volume_that_is_to_be_kept_does_not_go_with_its_server() -> None:
    told = keeps(story().attaches()).deletes()
    assert found(library.volumes_survive, GOOD, EMPTY, history=told.history)


def test_a_volume_that_was_to_be_kept_may_go_when_that_was_taken_back() -> None:
    told = keeps(keeps(story().attaches()), ends=True).deletes()
    assert not found(library.volumes_survive, GOOD, EMPTY, history=told.history)


def test_a_volume_may_go_when_its_user_deletes_it() -> None:
    told = story().loses("volume.delete", volume="data")
    assert found(library.volumes_survive, *LOST, history=told.history) == []


def test_a_volume_whose_delete_was_refused_survives() -> None:
    told = story().is_refused("volume.delete", volume="data")
    assert found(library.volumes_survive, *LOST, history=told.history)


def test_a_namesake_does_not_go_with_a_volume_that_was_deleted() -> None:
    two = replace(GOOD, volumes=(VOLUME, replace(VOLUME, id="v2")))
    told = Story().does("volume.delete", {"status": 202, "volume": "v2"}, volume="data")
    assert found(library.volumes_survive, two, EMPTY, history=told.history) == [
        "volume data (v1) was deleted, and nobody asked for it"
    ]


def test_a_volume_that_vanished_before_anybody_looked_is_missed() -> None:
    told = Story().does("volume.create", {"id": "v1"}, name="data")
    assert found(library.volumes_survive, EMPTY, history=told.history)


def test_a_volume_that_was_made_after_the_last_look_is_not() -> None:
    told = Story()
    looked = Observation("before", time.monotonic_ns(), EMPTY)
    told.does("volume.create", {"id": "v1"}, name="data")
    assert not [*library.volumes_survive.check(Evidence((looked,), told.history))]


def test_a_delete_that_everything_of_the_server_is_gone_after_is_fulfilled() -> None:
    assert found(library.deletes_fulfilled, GOOD, EMPTY, history=story().deletes().history) == []


PARTS = (
    "instances", "instance_mappings", "block_devices", "attachments", "allocations", "guests",
    "ports",
)  # fmt: skip


@pytest.mark.parametrize("left", PARTS)
def test_what_an_accepted_delete_leaves_is_seen(left: str) -> None:
    world = replace(EMPTY, **{left: getattr(GOOD, left)})
    assert found(library.deletes_fulfilled, GOOD, world, history=story().deletes().history)


ALONE = replace(EMPTY, volumes=(replace(VOLUME, status="available"),))
BOOTED_WITH = {"volumes": ["data"], "delete_on_termination": True}


@pytest.mark.parametrize(
    "told", [story().attaches(), Story().creates(**BOOTED_WITH)], ids=["attached", "booted"]
)
def test_a_volume_that_was_to_end_with_its_server_ends(told: Story) -> None:
    told.deletes()
    assert found(library.deletes_fulfilled, GOOD, ALONE, history=told.history) == [
        "the delete of vm (i1) was accepted, but there is still: volume data (v1), available"
    ]
    ending = replace(EMPTY, volumes=(replace(VOLUME, status="deleting"),))
    assert not found(library.deletes_fulfilled, GOOD, ending, history=told.history)


@pytest.mark.parametrize(
    "told",
    [
        story(),
        story().attaches(delete_on_termination=False),
        story().loses("volume.attach", server="vm", volume="data", delete_on_termination=True),
        story().attaches().does("volume.detach", server="vm", volume="data"),
        story().attaches().loses("volume.detach", server="vm", volume="data"),
        story().attaches().does("volume.detach", server="vm", volume="data").attaches(),
        keeps(story().attaches()),
        story().attaches().does("server.create", {"id": "i2"}, name="two", volumes=["data"]),
    ],
    ids=["never", "kept", "lost", "detached", "perhaps", "again", "kept later", "elsewhere too"],
)
def test_a_volume_that_something_may_have_saved_may_stay(told: Story) -> None:
    """Also where it is not certain that anything has."""
    told.deletes()
    assert not found(library.deletes_fulfilled, GOOD, ALONE, history=told.history)


def test_a_volume_that_was_attached_after_the_delete_may_stay() -> None:
    told = story().deletes().attaches()
    assert not found(library.deletes_fulfilled, GOOD, ALONE, history=told.history)


@pytest.mark.parametrize("answer", [{}, {"status": 204, "server": "i1"}])
def test_the_delete_of_a_server_whose_creation_was_not_answered_is_fulfilled_too(
    answer: dict[str, Any],
) -> None:
    told = Story().loses("server.create", name="vm").does("server.delete", answer, server="vm")
    leak = replace(EMPTY, ports=GOOD.ports)
    assert found(library.deletes_fulfilled, GOOD, leak, history=told.history)
    assert not found(library.deletes_fulfilled, GOOD, EMPTY, history=told.history)


def test_of_a_server_that_was_not_to_be_found_nothing_was_promised() -> None:
    """Its creation, whose answer was lost, may come through later."""
    told = Story().loses("server.create", name="vm")
    told.does("server.delete", {"status": 404, "server": None}, server="vm")
    assert found(library.deletes_fulfilled, GOOD, history=told.history) == []


def test_a_later_server_of_the_same_name_may_stay() -> None:
    told = story().does("server.delete", {"status": 204, "server": "i1"}, server="vm")
    told.does("server.create", {"id": "i2"}, name="vm")
    later = replace(EMPTY, instances=(replace(VM, uuid="i2"),))
    assert found(library.deletes_fulfilled, GOOD, later, history=told.history) == []


def test_a_server_error_is_seen_and_a_refusal_is_none() -> None:
    for status, seen in ((500, 1), (503, 1), (409, 0)):
        told = story().is_refused("server.delete", status, server="vm")
        assert len(found(library.no_server_error, GOOD, history=told.history)) == seen


def test_a_server_error_that_the_plan_allows_is_none() -> None:
    told = story()
    for status, seen in ((503, 0), (500, 1)):
        number = told.asks("server.delete", allow=(503,), server="vm")
        told.hears(number, Kind.FAIL, status=status, error="no")
        assert len(found(library.no_server_error, GOOD, history=told.history)) == seen


def crashes(history: History) -> None:
    history.add(Kind.HIT, "volume", "attachment.delete", action="crash")
    history.add(Kind.SERVICE, "volume", "exited", signal=9)


CUTS: dict[str, tuple[Callable[[History], object], str]] = {
    "killed": (lambda history: history.add(Kind.SERVICE, "volume", "killed"), "ready"),
    "frozen": (lambda history: history.add(Kind.SERVICE, "volume", "frozen"), "thawed"),
    "crashed": (crashes, "ready"),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("asked", ["before", "meanwhile", "while it was coming back"])
def test_a_server_error_of_a_service_that_the_plan_cut_off_is_none(cut: str, asked: str) -> None:
    told, (strike, back) = story(), CUTS[cut]
    number = told.asks("server.delete", server="vm") if asked == "before" else 0
    strike(told.history)
    number = number or told.asks("server.delete", server="vm")
    if asked == "while it was coming back":
        told.history.add(Kind.SERVICE, "volume", "started")
        told.history.add(Kind.SERVICE, "volume", back)
    told.hears(number, Kind.FAIL, status=503)
    assert found(library.no_server_error, GOOD, history=told.history) == []


@pytest.mark.parametrize("cut", CUTS)
def test_a_server_error_when_the_service_was_back_is_the_targets_own(cut: str) -> None:
    told, (strike, back) = story(), CUTS[cut]
    strike(told.history)
    told.history.add(Kind.SERVICE, "volume", back)
    told.is_refused("server.delete", 500, server="vm")
    (evidence,) = found(library.no_server_error, GOOD, history=told.history)
    assert evidence.endswith(f"; volume was {cut}, but was back by then")


def test_a_server_error_before_a_service_is_cut_off_is_the_targets_own() -> None:
    told = story().is_refused("server.delete", 500, server="vm")
    told.history.add(Kind.SERVICE, "volume", "killed")
    (evidence,) = found(library.no_server_error, GOOD, history=told.history)
    assert "volume" not in evidence


def test_a_service_that_died_by_itself_excuses_no_server_error() -> None:
    told = story()
    told.history.add(Kind.SERVICE, "volume", "exited", code=1)
    told.is_refused("server.delete", 500, server="vm")
    assert found(library.no_server_error, GOOD, history=told.history)


def test_the_library_has_every_invariant_under_its_name() -> None:
    assert {*collect(library)} == {
        "instances-at-rest", "guests-match-instances", "allocations-match-instances",
        "attachments-match-block-devices", "volumes-survive", "deletes-fulfilled",
        "no-server-error", "actions-are-told", "usage-tracked", "migrations-end",
        "quota-matches-servers",
        "ports-match-interfaces", "instances-listed-once",
    }  # fmt: skip


def test_a_server_is_visible_in_one_cell_at_most() -> None:
    (instance, *_) = GOOD.instances
    hidden = replace(instance, cell="cell2", hidden=True)
    twice = replace(instance, cell="cell2")
    moving = replace(GOOD, instances=(*GOOD.instances, hidden))
    assert found(library.instances_listed_once, moving) == []
    moved = replace(GOOD, instances=(*GOOD.instances, twice))
    assert len(found(library.instances_listed_once, moved)) == 1


def test_a_server_that_is_gone_does_not_count() -> None:
    gone = replace(GOOD, quota_usages=(*GOOD.quota_usages, QuotaUsage("p1", "i2")))
    assert found(library.quota_matches_servers, GOOD) == []
    assert found(library.quota_matches_servers, gone) == [
        "server i2 of project p1 counts, and is there no more"
    ]


def test_a_server_that_is_there_counts_once_however_many_records_it_has() -> None:
    copy = replace(VM, cell="cell2", hidden=True)
    assert found(library.quota_matches_servers, replace(GOOD, instances=(VM, copy))) == []
    assert found(library.quota_matches_servers, replace(GOOD, quota_usages=())) == [
        "server i1 is there, and does not count"
    ]
