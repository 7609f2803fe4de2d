"""What a topology can say of its services, and the mistakes that are found in it at once."""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.errors import NotReady, TargetError
from chaos.safety import procfs
from chaos.safety.members import Members
from chaos.safety.residue import audit
from chaos.target import Instrumentation, ServiceState
from targets.processes import ProcessTarget
from targets.processes.nursery import tail
from targets.topology import Command, Finished, Listening, LogLine, ServiceSpec
from tests.processes.conftest import Events, Start
from tests.processes.programs import Programs, forked, job, listener, shell

# ---------------------------------------------------------------------- placeholders


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://{prot:api}", r"`{prot:api}` in 'http://{prot:api}' is no .* `{port:api}`"),
        ("{run-dir}/x", r"did you mean `{run_dir}`"),
        ("{Bugs}", r"did you mean `{bugs}`"),
        ('{"a": 1}', "a brace that is meant is written twice"),
        ("{}", "`{}`"),
        ("a { alone", "`{`"),
        ("a } alone", "`}`"),
        ("{port:a b}", r"did you mean `{port:api}`"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "common", "argument", "bug", "cwd"])
def test_a_misspelt_placeholder_is_an_error_wherever_it_stands(
    where: str, text: str, message: str
) -> None:
    api = shell("api", "true", ready=Listening("api"))
    command = Command(
        ("true", text if where == "argument" else ""),
        bug_arguments={"some-bug": (text if where == "bug" else "",)},
    )
    own = {"X": text} if where == "environment" else {}
    one = ServiceSpec("one", command, own, cwd=text if where == "cwd" else "")

    with pytest.raises(TargetError, match=message):
        Programs(api, one, environment={"X": text} if where == "common" else {})


def test_a_brace_that_is_written_twice_is_one(start: Start, tmp_path: Path) -> None:
    text = "{{{run_dir}}} {{port:web}} {{}}"
    start(Programs(forked("one", "tells_its_environment", environment={"TOLD": text})))

    told = json.loads((tmp_path / "environment.json").read_text())["TOLD"]
    assert told == f"{{{tmp_path}}} {{port:web}} {{}}"


# ---------------------------------------------------------------------- arguments


ECHO = ("sh", "-c", 'echo "told:$*"; exec sleep 1000', "sh")
ECHOES = ServiceSpec(
    "one",
    Command((*ECHO, "{run_dir}"), bug_arguments={"some-bug": ("--no-recovery", "{bugs}")}),
    ready=LogLine("told"),
)


@pytest.mark.parametrize(("bugs", "more"), [((), ""), (("some-bug",), " --no-recovery some-bug")])
def test_a_bug_switch_adds_its_arguments(
    start: Start, tmp_path: Path, bugs: tuple[str, ...], more: str
) -> None:
    log = start(Programs(ECHOES), *bugs).services["one"].log

    assert log.read_text() == f"told:{tmp_path}{more}\n"


def test_a_command_may_be_a_line_as_one_would_type_it(start: Start) -> None:
    line = "sh -c 'echo \"told: $*\"; exec sleep 1000' sh 'a  b'"
    one = ServiceSpec("one", Command(line, {"some-bug": "-x 'c'"}), ready=LogLine("told"))
    log = start(Programs(one), "some-bug").services["one"].log

    assert log.read_text() == "told: a  b -x c\n"


def test_this_python_and_the_folder_of_the_target_have_placeholders(start: Start) -> None:
    line = "sh -c 'echo told $*; exec sleep 1000' sh {python} {target_dir}"
    one = ServiceSpec("one", Command(line), ready=LogLine("told"))
    log = start(Programs(one)).services["one"].log

    defined_in = Path(__file__).parent  # where the class of the target is
    assert log.read_text() == f"told {sys.executable} {defined_in}\n"


def test_arguments_for_an_unknown_bug_are_an_error_with_the_nearest_one() -> None:
    command = Command(("true",), bug_arguments={"some-bag": ("x",)})

    with pytest.raises(TargetError, match="did you mean `some-bug`"):
        Programs(ServiceSpec("one", command))


# ---------------------------------------------------------------------- where and as whom


def test_a_working_directory_is_made(start: Start, tmp_path: Path) -> None:
    target = start(Programs(shell("one", "pwd; exec sleep 1000", cwd="{run_dir}/own/{bugs}dir",
                                  ready=LogLine("/"))))  # fmt: skip

    assert target.services["one"].log.read_text() == f"{tmp_path}/own/dir\n"


def test_a_working_directory_that_cannot_be_made_is_an_error(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(TargetError, match="file cannot be made"):
        start(Programs(forked("one", cwd="file")))


@pytest.fixture
def passable(instrumentation: Instrumentation) -> Iterator[Instrumentation]:
    """A run in a directory that only root may look into, below one that all may."""
    run_dir = Path(tempfile.mkdtemp(prefix="chaos-user-"))
    yield Instrumentation(
        instrumentation.label, run_dir, instrumentation.environment, instrumentation.on_service
    )
    shutil.rmtree(run_dir)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose a user")


@pytest.fixture
def nobody(passable: Instrumentation) -> Iterator[ProcessTarget]:
    """A forked and an executed service that run as nobody, each in a directory of its own."""
    target = Programs(
        forked("forked", "tells_its_environment", user="nobody", cwd="{run_dir}/forked"),
        shell("executed", "id -un > who; id -G > groups; echo done; exec sleep 1000", user="nobody",
              cwd="{run_dir}/executed", ready=LogLine("done")),
    )  # fmt: skip
    target.start(passable, frozenset())
    yield target
    target.stop()


@as_root
def test_a_service_runs_as_its_user_in_a_directory_that_it_may_write(nobody: ProcessTarget) -> None:
    assert (nobody.run_dir / "executed" / "who").read_text() == "nobody\n"


@as_root
def test_a_service_has_the_groups_of_its_user_and_no_others(nobody: ProcessTarget) -> None:
    groups = (nobody.run_dir / "executed" / "groups").read_text().split()
    account = pwd.getpwnam("nobody")

    assert {*map(int, groups)} == {*os.getgrouplist(account.pw_name, account.pw_gid)}


@as_root
def test_a_service_finds_the_home_of_its_user(nobody: ProcessTarget) -> None:
    told = json.loads((nobody.run_dir / "forked" / "environment.json").read_text())

    assert (told["USER"], told["HOME"]) == ("nobody", str(Path("~nobody").expanduser()))


@as_root
def test_a_forked_service_of_another_user_may_look_at_itself(passable: Instrumentation) -> None:
    target = Programs(forked("one", "looks_at_itself", user="nobody"))
    try:
        target.start(passable, frozenset())
    finally:
        target.stop()


@as_root
def test_a_service_of_another_user_ends_with_the_warm_parent(nobody: ProcessTarget) -> None:
    pids = [service.pid for service in nobody.services.values()]
    (warm_parent,) = nobody.pids - {*pids}

    os.kill(warm_parent, signal.SIGKILL)

    assert all(service.wait_dead(5.0) for service in nobody.services.values())
    for pid in filter(None, pids):
        _await_end(pid)


def _await_end(pid: int) -> None:
    """Wait for the end of a process that is no child of this one."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], 5.0)[0], f"{procfs.command(pid)} lives on"
    finally:
        os.close(pidfd)


@as_root
def test_root_sees_what_other_users_processes_leave(
    nobody: ProcessTarget, label: str, tmp_path: Path
) -> None:
    left = audit(Members(label), run_dir=tmp_path)

    assert any(f"process {nobody.services['forked'].pid} is" in found for found in left)


def test_a_user_who_does_not_exist_is_an_error_with_the_nearest_one(start: Start) -> None:
    with pytest.raises(TargetError, match="as `nobdy`, who is no user here: did you mean `nobody`"):
        start(Programs(forked("one", user="nobdy")))


def test_only_root_can_choose_a_user(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    with pytest.raises(TargetError, match="one is to run as `nobody`, which only root can"):
        start(Programs(forked("one", user="nobody")))


# ---------------------------------------------------------------------- jobs


def test_a_job_is_done_before_what_comes_after_it_starts(start: Start, tmp_path: Path) -> None:
    start(Programs(job("schema", "sleep 0.1; touch made"),
                   shell("one", "test -e made && echo found; exec sleep 1000", after=("schema",),
                         ready=LogLine("found"))))  # fmt: skip


def test_a_job_is_no_service(start: Start, events: Events) -> None:
    target = start(Programs(job("schema", "true"), forked("one", after=("schema",))))

    assert (list(target.services), {name for name, _, _ in events}) == (["one"], {"one"})


def test_a_job_that_fails_ends_the_boot_with_its_log(start: Start, label: str) -> None:
    failing = job("schema", "echo no such table; exit 3")

    with pytest.raises(TargetError, match=r"(?s)schema ended with exit code 3\..*no such table"):
        start(Programs(failing, forked("one", after=("schema",))))
    assert list(procfs.labelled(label)) == []


def test_a_job_that_does_not_end_is_ended_at_its_limit(start: Start, label: str) -> None:
    endless = job("schema", "exec sleep 1000", start_s=0.2)

    with pytest.raises(NotReady, match=r"schema was not ready after 0.2 s\. Waited for its end"):
        start(Programs(endless, forked("one")))
    assert list(procfs.labelled(label)) == []


def test_a_job_may_be_forked(start: Start) -> None:
    with pytest.raises(NotReady, match="schema ended with exit code 3"):
        start(Programs(forked("schema", "breaks", ready=Finished())))


def test_a_job_is_not_struck(label: str, tmp_path: Path) -> None:
    struck = Instrumentation(label, tmp_path, lambda _: {"STRUCK": "yes"}, lambda *_: None)
    target = Programs(job("schema", "echo $STRUCK > struck"))
    target.start(struck, frozenset())
    target.stop()

    assert (tmp_path / "struck").read_text() == "\n"


ONCE, AGAIN = "echo x >> once", "echo x >> again"


def runs(tmp_path: Path) -> dict[str, int]:
    """How often each job has run."""
    return {name: (tmp_path / name).read_text().count("x") for name in ("once", "again")}


@pytest.fixture
def jobs(start: Start) -> ProcessTarget:
    return start(Programs(job("once", ONCE, stateless=True), job("again", AGAIN)))


def test_jobs_run_again_at_a_reset_unless_they_are_stateless(
    jobs: ProcessTarget, tmp_path: Path
) -> None:
    jobs.reset(frozenset())

    assert runs(tmp_path) == {"once": 1, "again": 2}


def test_all_jobs_run_again_when_the_bug_switches_change(
    jobs: ProcessTarget, tmp_path: Path
) -> None:
    jobs.reset(frozenset({"some-bug"}))

    assert runs(tmp_path) == {"once": 2, "again": 2}


def test_no_job_runs_again_in_a_kept_world(jobs: ProcessTarget, tmp_path: Path) -> None:
    jobs.reset(frozenset(), kept="a world")

    assert runs(tmp_path) == {"once": 1, "again": 1}


def test_a_reset_hands_over_what_was_kept(jobs: ProcessTarget, tmp_path: Path) -> None:
    jobs.reset(frozenset(), kept="a world")

    assert (tmp_path / "restored").read_text() == "'a world'"


# ---------------------------------------------------------------------- fixed ports


@pytest.fixture
def free() -> int:
    """A port that is free now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def test_a_topology_may_fix_a_port(start: Start, free: int) -> None:
    target = start(Programs(listener("web"), ports={"web": free}))

    assert target.port("web") == free
    socket.create_connection(("127.0.0.1", free), timeout=5).close()


def test_a_port_is_fixed_though_no_text_mentions_it(start: Start, free: int) -> None:
    assert start(Programs(forked("one"), ports={"web": free})).port("web") == free


def test_a_fixed_port_that_is_taken_is_an_error(start: Start, free: int) -> None:
    with (
        socket.create_server(("127.0.0.1", free)),
        pytest.raises(TargetError, match=rf"port {free} for `web`, which is taken"),
    ):
        start(Programs(forked("one"), ports={"web": free}))


def test_two_targets_cannot_fix_the_same_port(start: Start, free: int) -> None:
    start(Programs(forked("one"), ports={"web": free}))

    with pytest.raises(TargetError, match="is taken"):
        start(Programs(forked("one"), ports={"web": free}))


def test_a_fixed_port_is_free_again_after_the_stop(start: Start, free: int) -> None:
    target = start(Programs(forked("one"), ports={"web": free}))
    target.stop()

    start(target)

    assert target.port("web") == free


def test_an_unknown_port_is_an_error_with_the_nearest_one(start: Start, free: int) -> None:
    target = start(Programs(forked("one"), ports={"web": free}))

    with pytest.raises(TargetError, match="did you mean `web`"):
        target.port("wbe")


def test_the_port_of_a_target_that_is_not_started_is_an_error() -> None:
    with pytest.raises(TargetError, match="the target is not started"):
        Programs(listener("web")).port("web")


# ---------------------------------------------------------------------- what may be left


def called(label: str) -> list[str]:
    """The names of the run's processes that services have made."""
    names = map(procfs.name, procfs.labelled(label))
    return sorted(name for name in names if name and name in ("sleep", "tail"))


def await_called(label: str, *names: str) -> None:
    """Wait until all are there; the kernel names a process a moment after it was made."""
    end = time.monotonic() + 5.0
    while called(label) != [*names]:
        assert time.monotonic() < end, called(label)


@pytest.fixture
def leaving(start: Start, label: str) -> ProcessTarget:
    """A service with two children, one of which may outlive it."""
    target = start(Programs(forked("one", "has_a_child_and_a_daemon", leaves=("sleep",))))
    await_called(label, "sleep", "tail")
    return target


@pytest.fixture
def left(leaving: ProcessTarget) -> ProcessTarget:
    """The same, when the service is dead."""
    leaving.services["one"].kill()
    return leaving


def test_only_a_daemon_that_may_be_left_outlives_its_service(
    left: ProcessTarget, label: str
) -> None:
    assert called(label) == ["sleep"]


def test_a_daemon_is_left_by_a_service_that_dies_by_itself(
    leaving: ProcessTarget, label: str
) -> None:
    pid = leaving.services["one"].pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    assert leaving.services["one"].wait_dead(5.0)
    assert called(label) == ["sleep"]


def test_a_daemon_that_may_be_left_is_no_residue_while_the_target_runs(
    left: ProcessTarget, label: str, tmp_path: Path
) -> None:
    assert audit(Members(label), run_dir=tmp_path, expected_pids=left.pids) == ()


def test_a_daemon_that_was_left_ends_when_the_target_stops(left: ProcessTarget, label: str) -> None:
    left.stop()

    assert list(procfs.labelled(label)) == []


def test_a_service_that_left_a_daemon_comes_back(left: ProcessTarget, label: str) -> None:
    left.services["one"].start()

    assert left.services["one"].state is ServiceState.READY
    await_called(label, "sleep", "sleep", "tail")


def test_a_daemon_that_was_frozen_with_its_service_runs_on_when_it_is_left(
    leaving: ProcessTarget, label: str
) -> None:
    leaving.services["one"].freeze()
    leaving.services["one"].kill()

    assert [pid for pid in procfs.labelled(label) if procfs.is_stopped(pid)] == []


def test_a_daemon_in_a_session_of_its_own_ends_when_the_target_stops(
    start: Start, label: str
) -> None:
    script = "setsid -f sleep 1000; echo up; exec tail -f /dev/null"
    target = start(Programs(shell("one", script, leaves=("sleep",), ready=LogLine("up"))))
    await_called(label, "sleep", "tail")

    target.stop()

    assert list(procfs.labelled(label)) == []


def test_of_a_log_is_told_what_came_since_the_start(tmp_path: Path) -> None:
    log = tmp_path / "desk.log"
    log.write_text("an error of long ago\nit does not come up\n")
    assert tail(log, len("an error of long ago\n")) == "    it does not come up"
    assert tail(tmp_path / "no.log") == "    (nothing)"
