"""The whole control plane, driven by the real openstacksdk."""

from __future__ import annotations

import importlib
import inspect
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from threading import Event, Thread
from typing import Any, get_args

import pytest
from keystoneauth1.exceptions import ConnectTimeout, HttpError, UnknownConnectionError
from requests.exceptions import ChunkedEncodingError, ReadTimeout

from chaos.errors import NotSettled, TargetError
from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate, Scope
from chaos.point import means
from chaos.words import Word
from targets.cloud.client import acting_as
from targets.cloud.world import CloudWorld
from targets.embedded.points import POINTS
from targets.embedded.target import Embedded
from tests.reference.conftest import instrumentation

Do = Callable[..., Any]


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    target = Embedded()
    target.start(instrumentation(tmp_path_factory.mktemp("embedded")), frozenset())
    yield target
    target.stop()


@pytest.fixture
def target(booted: Embedded) -> Embedded:
    booted.reset(frozenset())
    return booted


@pytest.fixture
def scope(target: Embedded) -> Scope:
    return Scope(target.client(), request_id="req-test")


@pytest.fixture
def do(target: Embedded, scope: Scope) -> Do:
    """Run an operation by its name, as a plan does."""

    def run(operation: str, *positional: Any, **arguments: Any) -> Any:
        return target.operations[operation].function(scope, *positional, **arguments)

    return run


def settled(target: Embedded) -> CloudWorld:
    target.settle(10)
    return target.observe()


def resources(world: CloudWorld) -> list[Any]:
    """All records but those of the past, and the hosts."""
    return [
        record
        for table in fields(world)
        if table.name not in world.past | {"compute_nodes"}
        for record in getattr(world, table.name)
    ]


@pytest.mark.parametrize("alias", POINTS)
def test_every_point_is_a_function_of_ours(alias: str) -> None:
    module, _, name = POINTS[alias].function.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    assert inspect.isfunction(function)
    assert function.__module__ == module


@pytest.mark.parametrize("alias", POINTS)
def test_every_point_names_services_that_exist(alias: str, booted: Embedded) -> None:
    for pattern in POINTS[alias].services.split("|"):
        assert any(means(pattern, name) for name in booted.services)


@pytest.mark.parametrize(
    ("operation", "argument", "word"),
    [
        ("server.create", "name", Word("server", makes=True)),
        ("volume.create", "name", Word("volume", makes=True)),
        ("server.delete", "server", Word("server")),
        ("volume.attach", "server", Word("server")),
        ("volume.attach", "volume", Word("volume")),
        ("volume.expect", "volume", Word("volume")),
    ],
)
def test_arguments_that_name_something_say_so(operation: str, argument: str, word: Word) -> None:
    assert Embedded.operations[operation].types[argument].__metadata__ == (word,)


def test_a_name_among_several_says_so_too() -> None:
    volumes = Embedded.operations["server.create"].types["volumes"]
    assert get_args(volumes)[0].__metadata__ == (Word("volume"),)


def test_the_operations_that_only_look_are_assertions() -> None:
    looking = {name for name, operation in Embedded.operations.items() if operation.asserts}
    verbs = ("wait", "wait_gone", "expect")
    every = {f"{kind}.{verb}" for kind in ("server", "volume") for verb in verbs}
    assert looking == every | {"image.wait", "image.expect", "volume.wait_detached"}


def test_a_request_id_has_openstacks_form() -> None:
    assert re.fullmatch(r"req(-[0-9a-f]+){5}", Embedded().new_request_id())


def test_the_pristine_world_is_empty(target: Embedded) -> None:
    assert resources(target.observe()) == []


def test_a_created_server_is_seen_whole(target: Embedded, do: Do) -> None:
    vm = do("server.create", "vm")["id"]
    world = settled(target)
    (instance,), (guest,) = world.instances, world.guests
    assert (instance.uuid, instance.vm_state, instance.task_state) == (vm, "active", None)
    assert (guest.uuid, guest.host, guest.power) == (vm, instance.host, "running")
    assert {(a.consumer, a.provider) for a in world.allocations} == {(vm, instance.host)}
    assert [(p.device, p.host) for p in world.ports] == [(vm, instance.host)]
    assert [(m.instance, m.cell) for m in world.instance_mappings] == [(vm, instance.cell)]
    assert world.build_requests == ()


@pytest.mark.filterwarnings("error")  # as a user's own `pytest -W error` has it
def test_what_the_sdk_says_of_its_future_ends_no_operation(target: Embedded, do: Do) -> None:
    target.client()
    do("server.create", name="vm")
    do("server.delete", server="vm")


def test_a_rebooted_server_runs_again(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    do("server.reboot", "vm", wait="ACTIVE")
    do("server.expect", "vm", status="ACTIVE", task_state="none", power_state="running")
    assert [guest.power for guest in settled(target).guests] == ["running"]


def test_a_stopped_server_can_be_started(do: Do) -> None:
    do("server.create", "vm")
    do("server.stop", "vm", wait="SHUTOFF")
    do("server.expect", "vm", power_state="shutdown")
    do("server.start", "vm", wait="ACTIVE")
    do("server.expect", "vm", power_state="running")


def test_an_attached_volume_is_seen_on_both_sides(target: Embedded, do: Do) -> None:
    vm, data = do("server.create", "vm")["id"], do("volume.create", "data")["id"]
    do("volume.attach", "vm", "data")
    world = settled(target)
    (device,), (attachment,) = world.block_devices, world.attachments
    assert (device.instance, device.volume, device.attachment) == (vm, data, attachment.id)
    assert (attachment.volume, attachment.instance, attachment.status) == (data, vm, "attached")
    assert [guest.disks for guest in world.guests] == [(data,)]


def test_a_detached_volume_is_free_again(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    do("volume.create", "data")
    do("volume.attach", "vm", "data")
    do("volume.detach", "vm", "data", wait="available")
    world = settled(target)
    assert (world.block_devices, world.attachments) == ((), ())
    assert [guest.disks for guest in world.guests] == [()]


def test_a_server_can_boot_with_a_volume_that_ends_with_it(target: Embedded, do: Do) -> None:
    do("volume.create", "data")
    do("server.create", "vm", volumes=["data"], delete_on_termination=True)
    do("volume.expect", "data", status="in-use")
    do("server.delete", "vm")
    do("server.wait_gone", "vm")
    assert resources(settled(target)) == []


def test_a_deleted_server_leaves_nothing(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    answers = [do("server.delete", "vm")["status"]]
    do("server.wait_gone", "vm")
    answers.append(do("server.delete", "vm")["status"])
    assert answers == [204, 404]
    assert resources(settled(target)) == []


def test_a_server_deleted_while_it_boots_leaves_nothing(target: Embedded, do: Do) -> None:
    do("server.create", "vm", wait="")
    assert do("server.delete", "vm")["status"] == 204
    do("server.wait_gone", "vm")
    assert resources(settled(target)) == []


def test_a_server_and_a_volume_may_have_the_same_name(target: Embedded, do: Do) -> None:
    do("server.create", "same", networks="none")
    do("volume.create", "same")
    assert do("server.delete", "same")["status"] == 204
    do("server.wait_gone", "same")
    settled(target)
    do("volume.expect", "same", status="available")


def test_a_user_can_clean_up_everything(target: Embedded, do: Do, scope: Scope) -> None:
    do("volume.create", "data")
    do("volume.create", "spare")
    do("server.create", "vm", volumes=["data"])
    do("server.create", "other", wait="")
    network = scope.client.network
    scope.made["port"] = network.create_port(network_id=network.find_network("private").id).id
    target.clean_up(scope)
    assert resources(settled(target)) == []


def test_a_port_that_no_step_made_is_not_cleaned_up(target: Embedded, scope: Scope) -> None:
    network = scope.client.network
    leaked = network.create_port(network_id=network.find_network("private").id).id
    target.clean_up(scope)
    assert [port.id for port in settled(target).ports] == [leaked]


def test_a_thing_whose_creation_was_not_answered_is_cleaned_up_too(
    target: Embedded, do: Do, scope: Scope
) -> None:
    do("server.create", "vm", wait="")
    do("volume.create", "data")
    scope.made.clear()
    target.clean_up(scope)
    assert resources(settled(target)) == []


def test_a_reset_brings_the_pristine_world_back(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    do("volume.create", "data")
    target.reset(frozenset())
    assert resources(target.observe()) == []


def test_the_control_plane_works_after_a_reset(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    target.reset(frozenset())
    do("server.create", "again")
    do("server.expect", "again", status="ACTIVE")


@pytest.fixture
def given(target: Embedded, do: Do) -> CloudWorld:
    """A world with a server, its volume and a spare one."""
    do("server.create", "vm")
    for volume in ("data", "spare"):
        do("volume.create", volume)
    do("volume.attach", "vm", "data", delete_on_termination=True)
    return settled(target)


def test_a_kept_world_comes_back_whole(target: Embedded, do: Do, given: CloudWorld) -> None:
    kept = target.keep()
    for _ in range(3):
        do("volume.delete", "spare")
        do("server.delete", "vm")
        do("server.wait_gone", "vm")
        assert resources(settled(target)) == []
        target.reset(frozenset(), kept)
        assert target.observe() == given


def test_the_control_plane_works_on_in_a_kept_world(
    target: Embedded, do: Do, given: CloudWorld
) -> None:
    kept = target.keep()
    target.services[f"compute-{given.instances[0].host}"].kill()
    target.services["bus"].kill()
    target.reset(frozenset(), kept)
    do("server.reboot", "vm", wait="ACTIVE")
    do("server.create", "other")
    do("volume.attach", "vm", "spare")
    do("volume.detach", "vm", "data", wait="available")
    for server in ("vm", "other"):
        do("server.delete", server)
        do("server.wait_gone", server)
    assert {volume.name for volume in settled(target).volumes} == {"data", "spare"}


def test_what_a_compute_counts_is_that_of_the_kept_world(
    target: Embedded, do: Do, given: CloudWorld
) -> None:
    """It counts from its cell's records each time, and holds nothing between two changes."""
    kept, host = target.keep(), given.instances[0].host
    do("server.delete", "vm")
    do("server.wait_gone", "vm")
    target.settle(10)
    target.reset(frozenset(), kept)
    for number in range(3):
        do("server.create", f"vm{number}")
    here = [i for i in settled(target).instances if i.host == host]
    with closing(sqlite3.connect(target.run_dir / "nova_cell1.sqlite")) as cell:
        (used,) = cell.execute("SELECT vcpus_used FROM compute_nodes WHERE host = ?", [host])
    assert used == (sum(instance.vcpus for instance in here),)


def test_several_worlds_can_be_kept(target: Embedded, do: Do) -> None:
    do("volume.create", "one")
    first = target.keep()
    do("volume.create", "two")
    second = target.keep()
    seen = []
    for moment in (first, second, None, second, first):
        target.reset(frozenset(), moment)
        seen.append([volume.name for volume in target.observe().volumes])
    assert [sorted(names) for names in seen] == [
        ["one"], ["one", "two"], [], ["one", "two"], ["one"]
    ]  # fmt: skip


def test_what_was_not_kept_can_not_be_restored(target: Embedded) -> None:
    with pytest.raises(TargetError, match="kept no 'yesterday'"):
        target.reset(frozenset(), "yesterday")


def test_a_message_for_a_frozen_compute_is_not_settled(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    # At rest: whoever is frozen while it writes keeps everybody from writing.
    compute = target.services[f"compute-{settled(target).instances[0].host}"]
    compute.freeze()
    do("server.delete", "vm")
    with pytest.raises(NotSettled, match="terminate"):
        target.settle(0.2)
    compute.thaw()
    assert resources(settled(target)) == []


def test_a_delete_is_carried_out_when_its_compute_is_back(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    compute = target.services[f"compute-{target.observe().instances[0].host}"]
    compute.kill()
    do("server.delete", "vm")
    compute.start()
    do("server.wait_gone", "vm")
    assert resources(settled(target)) == []


@pytest.fixture
def rebooting(do: Do) -> str:
    """A server that is being rebooted, and takes a second to ignore that it is asked to."""
    made = do("server.create", "deaf", networks="none")
    do("guest.ignore_acpi", "deaf")
    do("server.reboot", "deaf")
    return str(made["id"])


def test_the_work_of_a_request_goes_on_after_its_answer(target: Embedded, rebooting: str) -> None:
    assert target.under_way(["req-other", "req-test"]) == ("compute.host1: reboot in flight",)


def test_the_work_of_another_request_is_not_told(target: Embedded, rebooting: str) -> None:
    assert target.under_way(["req-other"]) == ()


def test_nothing_is_under_way_when_everything_was_done(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    target.settle(10)
    assert target.under_way(["req-test"]) == ()


def test_what_waits_for_a_dead_compute_is_not_under_way(target: Embedded, do: Do) -> None:
    do("server.create", "vm")
    target.settle(10)
    target.services[f"compute-{target.observe().instances[0].host}"].kill()
    do("server.reboot", "vm")
    with pytest.raises(NotSettled):
        target.settle(0)
    assert target.under_way(["req-test"]) == ()


def test_what_a_frozen_compute_works_on_is_not_under_way(target: Embedded, rebooting: str) -> None:
    compute = target.services["compute-host1"]
    compute.freeze()
    frozen = target.under_way(["req-test"])
    compute.thaw()
    assert (frozen, len(target.under_way(["req-test"]))) == ((), 1)


def test_a_build_that_waits_for_a_dead_scheduler_is_not_under_way(target: Embedded, do: Do) -> None:
    """The conductor's own call keeps it up, and moves only when somebody starts the scheduler."""
    target.services["scheduler"].kill()
    do("server.create", "vm", wait="")
    with pytest.raises(NotSettled, match="scheduler: 1 queued"):
        target.settle(0.3)
    held_up = target.under_way(["req-test"])
    target.services["scheduler"].start()
    do("server.wait", "vm", "ACTIVE")
    assert held_up == ()


def test_nothing_is_under_way_without_a_broker(target: Embedded) -> None:
    target.services["bus"].kill()
    assert target.under_way(["req-test"]) == ()


def test_what_is_still_at_work_is_named(target: Embedded, rebooting: str) -> None:
    with pytest.raises(NotSettled, match=r"compute\.host1: reboot in flight"):
        target.settle(0.1)


def test_a_reset_ends_what_is_still_at_work(target: Embedded, rebooting: str, do: Do) -> None:
    target.reset(frozenset())
    do("server.create", "vm")
    assert [instance.name for instance in settled(target).instances] == ["vm"]


def test_several_actors_keep_their_own_request_ids(target: Embedded, scope: Scope) -> None:
    create = target.operations["server.create"].function

    def act(number: int) -> str:
        return str(create(scope.actor(f"req-actor-{number}"), f"vm{number}")["id"])

    with ThreadPoolExecutor(3) as actors:
        made = list(actors.map(act, range(3)))
    found = {action.instance: action.request for action in settled(target).actions}
    assert found == {server: f"req-actor-{number}" for number, server in enumerate(made)}


def test_a_refusal_carries_its_status(do: Do) -> None:
    with pytest.raises(OperationFailed) as refused:
        do("server.reboot", "0a8b3c5e-0000-4000-8000-000000000000")
    assert refused.value.status == 404


def test_an_answer_that_never_comes_is_indeterminate(target: Embedded, do: Do) -> None:
    target.services["volume"].kill()
    with pytest.raises(OperationIndeterminate):
        do("volume.create", "data")


def test_a_frozen_service_is_indeterminate_to_its_client(
    target: Embedded, do: Do, scope: Scope
) -> None:
    do("server.create", "vm")
    scope.deadline_s = 0.1
    target.services["api"].freeze()
    with pytest.raises(OperationIndeterminate):
        do("server.reboot", "vm")


@pytest.mark.parametrize(
    "lost",
    [
        ConnectTimeout("timed out"),
        UnknownConnectionError("cut", OSError()),
        ReadTimeout("timed out"),
        ChunkedEncodingError("cut in the middle"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_lost_answer_is_indeterminate(lost: Exception) -> None:
    with pytest.raises(OperationIndeterminate), acting_as("req-1", 1.0):
        raise lost


def test_an_error_of_the_identity_service_is_a_refusal_with_a_status() -> None:
    with pytest.raises(OperationFailed) as refused, acting_as("req-1", 1.0):
        raise HttpError("no", http_status=503)
    assert refused.value.status == 503


def test_what_nobody_expects_of_an_operation_is_left_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), acting_as("req-1", 1.0):
        raise ZeroDivisionError


def test_a_wait_outlives_a_restart_of_the_service_that_it_asks(target: Embedded, do: Do) -> None:
    do("volume.create", "data")
    volume, ended = target.services["volume"], Event()

    def wait() -> None:
        do("volume.wait_gone", "data")
        ended.set()

    waiting = Thread(target=wait)
    waiting.start()
    volume.kill()
    volume.start()
    do("volume.delete", "data")
    waiting.join()
    assert ended.is_set()


def test_a_wait_without_any_answer_is_indeterminate(target: Embedded, do: Do, scope: Scope) -> None:
    do("volume.create", "data")
    scope.deadline_s = 0.1
    target.services["volume"].kill()
    with pytest.raises(OperationIndeterminate):
        do("volume.wait", "data", "in-use")


def test_a_wait_whose_last_answers_were_lost_tells_what_it_saw(
    target: Embedded, do: Do, scope: Scope
) -> None:
    do("volume.create", "data")
    scope.deadline_s = 0.5
    client, answered = scope.client.block_storage, Event()

    class Proxy:
        def get(self, path: str) -> Any:
            found = client.get(path)
            answered.set()
            return found

    class Client:
        block_storage = Proxy()

    scope.client = Client()

    def kill() -> None:
        answered.wait()
        target.services["volume"].kill()

    killing = Thread(target=kill)
    killing.start()
    with pytest.raises(ExpectationFailed, match="to become in-use; it is available"):
        do("volume.wait", "data", "in-use")
    killing.join()


def test_an_expectation_asks_once(target: Embedded, do: Do) -> None:
    do("volume.create", "data")
    target.services["volume"].kill()
    with pytest.raises(OperationIndeterminate):
        do("volume.expect", "data", status="available")


def test_a_server_whose_creation_was_not_answered_is_found_by_its_name(
    target: Embedded, do: Do, scope: Scope
) -> None:
    vm = do("server.create", "vm")["id"]
    scope.made.clear()
    do("server.expect", "vm", status="ACTIVE")
    assert do("server.delete", "vm") == {"status": 204, "server": vm}
    do("server.wait_gone", "vm")
    assert do("server.delete", "vm") == {"status": 404, "server": vm}


def test_a_volume_whose_creation_was_not_answered_is_found_by_its_name(
    do: Do, scope: Scope
) -> None:
    data = do("volume.create", "data")["id"]
    scope.made.clear()
    do("volume.wait", "data", "available")
    assert do("volume.delete", "data") == {"status": 202, "volume": data}


def test_a_name_that_nothing_has_does_not_exist(do: Do) -> None:
    do("server.expect", "vm", exists=False)
    assert do("server.delete", "vm") == {"status": 404, "server": None}
    with pytest.raises(OperationFailed) as refused:
        do("server.wait", "vm", "ACTIVE")
    assert refused.value.status == 404


def test_a_wrong_expectation_tells_what_was_found(do: Do) -> None:
    do("server.create", "vm")
    with pytest.raises(ExpectationFailed, match="status is 'ACTIVE', expected 'SHUTOFF'"):
        do("server.expect", "vm", status="SHUTOFF")


def test_waiting_ends_at_the_deadline(do: Do, scope: Scope) -> None:
    do("volume.create", "data")
    scope.deadline_s = 0.05
    with pytest.raises(ExpectationFailed, match="to become in-use; it is available"):
        do("volume.wait", "data", "in-use")


def test_a_server_that_fits_nowhere_ends_in_error_at_once(do: Do) -> None:
    def fill() -> None:
        for number in range(20):
            do("server.create", f"vm{number}", flavor="m1.large")

    with pytest.raises(ExpectationFailed, match="No valid host"):
        fill()
