"""A topology as local processes: life, death and return of its services."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from chaos.errors import NotReady, TargetError
from chaos.safety import procfs
from chaos.safety.members import Members
from chaos.safety.residue import audit
from chaos.safety.undo import Thaw
from chaos.target import Instrumentation, ServiceState
from targets.processes import ProcessTarget
from targets.topology import Listening
from tests.processes.conftest import Events, Start
from tests.processes.programs import Programs, forked, listener, shell


def of(events: Events, service: str) -> list[str]:
    return [event for name, event, _ in events if name == service]


def pid_of(target: ProcessTarget, service: str) -> int:
    pid = target.services[service].pid
    assert pid is not None
    return pid


# ---------------------------------------------------------------------- boot and stop


def test_every_service_is_ready_after_the_boot(ledger: ProcessTarget) -> None:
    assert [s.state for s in ledger.services.values()] == [ServiceState.READY] * 2


def test_a_service_starts_only_after_those_that_it_waits_for(start: Start, events: Events) -> None:
    start(Programs(forked("third", after=("second",)), forked("second", after=("first",)),
                   forked("first")))  # fmt: skip

    assert [(name, event) for name, event, _ in events] == [
        (name, event) for name in ("first", "second", "third") for event in ("started", "ready")
    ]


def test_stop_leaves_no_process(ledger: ProcessTarget, label: str) -> None:
    ledger.stop()

    assert list(procfs.labelled(label)) == []


def test_stop_may_be_called_twice(ledger: ProcessTarget) -> None:
    ledger.stop()
    ledger.stop()


def test_a_target_may_be_started_again_after_it_was_stopped(start: Start) -> None:
    target = start(Programs(forked("one")))
    target.stop()

    start(target)

    assert target.services["one"].state is ServiceState.READY


def test_the_living_processes_of_a_target_are_no_residue(
    ledger: ProcessTarget, label: str, tmp_path: Path
) -> None:
    assert audit(Members(label), run_dir=tmp_path, expected_pids=ledger.pids) == ()


def test_a_service_whose_group_has_a_child_takes_it_along(start: Start, label: str) -> None:
    target = start(Programs(forked("parent", "has_a_child")))

    target.services["parent"].kill()

    assert [procfs.command(pid) for pid in procfs.labelled(label) if pid not in target.pids] == []


def test_a_service_sees_the_label_of_its_run(start: Start, label: str) -> None:
    target = start(Programs(forked("one")))

    assert procfs.is_labelled(pid_of(target, "one"), label)


def test_placeholders_are_filled_in_environment_and_arguments(start: Start, tmp_path: Path) -> None:
    target = start(
        Programs(
            forked("told", "tells_its_environment",
                   environment={"WHERE": "{run_dir}:{port:web}:{bugs}", "JSON": '{{"a": 1}}'}),
            shell("web", "echo {port:web} > port; exec python3 -c '"
                  "from http.server import *; "
                  "HTTPServer((\"127.0.0.1\", {port:web}), None).serve_forever()'",
                  ready=Listening("web")),
        ),
        "some-bug",
    )  # fmt: skip

    told = json.loads((tmp_path / "environment.json").read_text())
    port = target.port("web")
    assert (told["WHERE"], told["JSON"], (tmp_path / "port").read_text()) == (
        f"{tmp_path}:{port}:some-bug",
        '{"a": 1}',
        f"{port}\n",
    )


def test_the_hook_directory_comes_before_a_services_own_python_path(
    label: str, tmp_path: Path
) -> None:
    hooked = Instrumentation(label, tmp_path, lambda _: {"PYTHONPATH": "/hook"}, lambda *_: None)
    target = Programs(forked("one", "tells_its_environment", environment={"PYTHONPATH": "/own"}))
    target.start(hooked, frozenset())
    target.stop()

    assert json.loads((tmp_path / "environment.json").read_text())["PYTHONPATH"] == "/hook:/own"


# ---------------------------------------------------------------------- not ready


def test_a_service_that_dies_before_it_is_ready_is_reported_at_once(start: Start) -> None:
    begin = time.monotonic()

    with pytest.raises(NotReady, match="one ended with exit code 3"):
        start(Programs(forked("one", "breaks"), forked("other", "is_silent")))

    assert time.monotonic() - begin < 5


def test_the_report_of_a_death_ends_with_the_last_twenty_lines_of_the_log(start: Start) -> None:
    with pytest.raises(NotReady) as caught:
        start(Programs(forked("one", "breaks")))

    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines == [f"line {number}" for number in range(10, 30)]


def test_a_command_that_cannot_be_executed_is_reported_with_the_reason(start: Start) -> None:
    with pytest.raises(NotReady, match=r"sh: .*not found"):
        start(Programs(shell("one", "no-such-program", ready=Listening("one"))))


def test_a_failed_boot_leaves_no_process(start: Start, label: str) -> None:
    with pytest.raises(NotReady):
        start(Programs(forked("works"), forked("breaks", "breaks", after=("works",))))

    assert list(procfs.labelled(label)) == []


def test_a_service_that_is_not_ready_by_the_deadline_is_killed(start: Start) -> None:
    first = "test -e slow && exec sleep 100; touch slow"
    service = start(Programs(listener("one", first))).services["one"]
    service.kill()

    with pytest.raises(NotReady, match=r"was not ready after 0.2 s"):
        service.start(deadline_s=0.2)
    assert service.state is ServiceState.DEAD


def test_a_module_that_cannot_be_imported_beforehand_is_named(start: Start) -> None:
    with pytest.raises(TargetError, match="No module named 'no_such_module'"):
        start(Programs(forked("one"), preload=("no_such_module",)))


def test_an_unknown_name_in_after_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(TargetError, match="did you mean `vault`"):
        Programs(forked("vault"), forked("teller", after=("valt",)))


def test_services_that_wait_for_each_other_are_an_error() -> None:
    with pytest.raises(TargetError, match="wait for each other"):
        Programs(forked("a", after=("b",)), forked("b", after=("a",)))


def test_an_unknown_bug_is_an_error_with_the_nearest_one(start: Start) -> None:
    with pytest.raises(TargetError, match="did you mean `some-bug`"):
        start(Programs(forked("one")), "some-bag")


# ---------------------------------------------------------------------- kill and restart


def test_a_killed_service_is_dead(ledger: ProcessTarget) -> None:
    teller = ledger.services["teller"]

    teller.kill()

    assert (teller.state, teller.pid) == (ServiceState.DEAD, None)


@pytest.mark.parametrize("name", ["teller", "vault"])
def test_the_port_of_a_dead_service_refuses(ledger: ProcessTarget, name: str) -> None:
    ledger.services[name].kill()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ledger.port(name)), timeout=5)


def test_nobody_else_gets_the_port_of_a_dead_service(ledger: ProcessTarget) -> None:
    ledger.services["vault"].kill()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", ledger.port("vault")))


@pytest.mark.parametrize("name", ["teller", "vault"])
def test_a_killed_service_comes_back_as_another_process_on_its_port(
    ledger: ProcessTarget, name: str
) -> None:
    service, before = ledger.services[name], pid_of(ledger, name)
    service.kill()

    service.start()

    socket.create_connection(("127.0.0.1", ledger.port(name)), timeout=5).close()
    assert pid_of(ledger, name) != before


def test_starting_a_ready_service_does_nothing(ledger: ProcessTarget) -> None:
    before = pid_of(ledger, "teller")

    ledger.services["teller"].start()

    assert pid_of(ledger, "teller") == before


def test_the_log_collects_all_restarts(start: Start) -> None:
    service = start(Programs(listener("one", "echo began"))).services["one"]
    service.kill()
    service.start()

    assert service.log.read_text().count("began") == 2


def test_a_kill_is_told_in_the_order_in_which_it_happened(start: Start, events: Events) -> None:
    start(Programs(forked("one"))).services["one"].kill()

    assert of(events, "one") == ["started", "ready", "killed", "exited"]


def test_a_death_from_elsewhere_is_noticed_and_told_with_its_signal(
    start: Start, events: Events
) -> None:
    target = start(Programs(forked("one")))
    pid = pid_of(target, "one")

    os.kill(pid, signal.SIGKILL)

    assert target.services["one"].wait_dead(5.0)
    assert events[-1] == ("one", "exited", {"pid": pid, "signal": 9})


def test_waiting_for_the_death_of_a_living_service_ends_at_the_deadline(
    ledger: ProcessTarget,
) -> None:
    assert not ledger.services["vault"].wait_dead(0.05)


def test_services_end_with_their_warm_parent(start: Start, label: str) -> None:
    target = start(Programs(forked("one"), listener("two")))
    (warm_parent,) = target.pids - {pid_of(target, "one"), pid_of(target, "two")}

    os.kill(warm_parent, signal.SIGKILL)

    assert all(service.wait_dead(5.0) for service in target.services.values())


def test_without_its_warm_parent_a_service_does_not_start(start: Start) -> None:
    target = start(Programs(forked("one")))
    (warm_parent,) = target.pids - {pid_of(target, "one")}
    os.kill(warm_parent, signal.SIGKILL)
    target.services["one"].wait_dead(5.0)

    with pytest.raises(TargetError, match="warm parent is gone"):
        target.services["one"].start()


# ---------------------------------------------------------------------- freeze and thaw


def test_a_frozen_service_stands_still(ledger: ProcessTarget) -> None:
    ledger.services["vault"].freeze()

    assert procfs.is_stopped(pid_of(ledger, "vault"))


def test_a_thawed_service_serves_again(ledger: ProcessTarget) -> None:
    vault = ledger.services["vault"]
    vault.freeze()

    vault.thaw()

    assert vault.state is ServiceState.READY


def test_freezing_and_thawing_are_told_once_however_often_asked(
    start: Start, events: Events
) -> None:
    service = start(Programs(forked("one"))).services["one"]
    for _ in range(2):
        service.freeze()
    for _ in range(2):
        service.thaw()

    assert of(events, "one") == ["started", "ready", "frozen", "thawed"]


def test_a_frozen_service_can_be_killed(ledger: ProcessTarget) -> None:
    ledger.services["vault"].freeze()

    ledger.services["vault"].kill()

    assert ledger.services["vault"].state is ServiceState.DEAD


def test_the_undo_log_thaws_what_the_service_froze(ledger: ProcessTarget) -> None:
    vault = ledger.services["vault"]
    undo = Thaw.of(pid_of(ledger, "vault"))
    vault.freeze()

    undo.undo()

    assert vault.state is ServiceState.READY


def test_a_dead_service_cannot_be_frozen(ledger: ProcessTarget) -> None:
    ledger.services["vault"].kill()

    with pytest.raises(TargetError, match="vault was ended by SIGKILL"):
        ledger.services["vault"].freeze()


# ---------------------------------------------------------------------- reset


def test_a_reset_restores_the_data_while_the_services_are_down(
    start: Start, tmp_path: Path
) -> None:
    target = start(Programs(listener("one", "test -e restored && echo pristine")))
    target.reset(frozenset())

    assert "pristine" in target.services["one"].log.read_text()


def test_a_reset_leaves_a_ready_stateless_service_alone(start: Start) -> None:
    target = start(Programs(forked("stateful"), forked("stateless", stateless=True)))
    before = {name: pid_of(target, name) for name in target.services}

    target.reset(frozenset())

    kept = {name for name, pid in before.items() if pid_of(target, name) == pid}
    assert kept == {"stateless"}


def test_a_reset_brings_back_a_stateless_service_that_died(start: Start) -> None:
    target = start(Programs(forked("stateless", stateless=True)))
    target.services["stateless"].kill()

    target.reset(frozenset())

    assert target.services["stateless"].state is ServiceState.READY


def test_a_reset_to_other_bugs_restarts_stateless_services_with_them(
    start: Start, tmp_path: Path
) -> None:
    target = start(Programs(forked("one", "tells_its_environment",
                                   environment={"BUGS": "{bugs}"}, stateless=True)))  # fmt: skip
    target.reset(frozenset({"some-bug"}))

    assert json.loads((tmp_path / "environment.json").read_text())["BUGS"] == "some-bug"
