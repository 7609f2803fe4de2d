"""Programs that shed the label, their session and their parent are found and ended all the same."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chaos.errors import ChaosError
from chaos.safety import cgroup, procfs
from chaos.safety.program import Program
from chaos.safety.reaper import Reaper, reap_stale
from chaos.safety.residue import audit
from chaos.target import Instrumentation
from targets.processes import ProcessTarget
from targets.topology import LogLine, ServiceSpec
from tests.processes.programs import Programs, shell
from tests.processes.servers import program

LIMIT_S = 20.0
ESCAPE = "env -i setsid sh -c 'echo $$ > {run_dir}/escaped; exec sleep 1000' > /dev/null 2>&1 &"
ESCAPING = shell("one", f"{ESCAPE} while ! test -s {{run_dir}}/escaped; do :; done; echo up; wait",
                 ready=LogLine("up"))  # fmt: skip


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for run directories of this test's own: no other run looks for stale ones.

    pytest's own directories (``tmp_path``) are elsewhere already, and root's alone.
    """
    path = Path(tempfile.mkdtemp(prefix="private-"))
    path.chmod(0o711)  # a server that is not root's must reach what is its own
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run_dir(label: str, temporary: Path) -> Path:
    """A run's own directory."""
    return Path(tempfile.mkdtemp(prefix=f"chaos-{label}-"))


@dataclass(frozen=True, slots=True)
class Guarded:
    """A run with a reaper, for targets that are started in it."""

    reaper: Reaper
    instrumentation: Instrumentation

    def start(self, *services: ServiceSpec) -> ProcessTarget:
        target = Programs(*services)
        target.start(self.instrumentation, frozenset())
        return target

    def audit(self) -> tuple[str, ...]:
        return audit(self.reaper.members, run_dir=self.reaper.run_dir)


@pytest.fixture(params=["with a control group", "without"])
def guarded(
    request: pytest.FixtureRequest,
    label: str,
    run_dir: Path,
    instrumentation: Instrumentation,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Guarded]:
    if request.param == "without":
        monkeypatch.setattr(cgroup, "make", lambda label: None)
    reaper = Reaper(label, run_dir, remove_run_dir=True)
    reaper.start()
    yield Guarded(reaper, replace(instrumentation, run_dir=run_dir, launch=reaper.launch))
    reaper.reap()


def escaped(run_dir: Path) -> int:
    """The process that left, and carries no label."""
    return int((run_dir / "escaped").read_text())


def test_a_daemon_that_cleared_its_environment_is_residue(guarded: Guarded, run_dir: Path) -> None:
    target = guarded.start(ESCAPING)
    pid = escaped(run_dir)
    assert not procfs.is_labelled(pid, guarded.reaper.label)
    os.kill(target.services["one"].pid or 0, signal.SIGKILL)
    target.services["one"].wait_dead(LIMIT_S)

    target.stop()

    assert guarded.audit() == (f"process {pid} is still alive: sleep 1000",)


def test_a_daemon_that_cleared_its_environment_ends_with_the_run(
    guarded: Guarded, run_dir: Path
) -> None:
    target = guarded.start(ESCAPING)
    pid = escaped(run_dir)
    os.kill(target.services["one"].pid or 0, signal.SIGKILL)
    target.services["one"].wait_dead(LIMIT_S)
    target.stop()

    guarded.reaper.reap()

    assert (procfs.is_alive(pid), groups(guarded.reaper.label)) == (False, [])


def test_what_left_the_group_of_a_service_is_killed_with_it(
    guarded: Guarded, run_dir: Path
) -> None:
    target = guarded.start(ESCAPING)

    target.services["one"].kill()

    assert not procfs.is_alive(escaped(run_dir))
    target.stop()
    assert guarded.audit() == ()


def test_a_killed_warm_parent_leaves_its_orphans_to_the_reaper(
    guarded: Guarded, run_dir: Path
) -> None:
    target = guarded.start(ESCAPING)
    warm_parent = procfs.parent(target.services["one"].pid or 0) or 0

    os.kill(warm_parent, signal.SIGKILL)
    target.services["one"].wait_dead(LIMIT_S)
    target.stop()

    assert f"process {escaped(run_dir)} is still alive: sleep 1000" in guarded.audit()


def test_the_reaper_buries_the_orphans_that_it_adopted(guarded: Guarded, run_dir: Path) -> None:
    target = guarded.start(ESCAPING)
    os.kill(target.services["one"].pid or 0, signal.SIGKILL)
    target.services["one"].wait_dead(LIMIT_S)
    target.stop()

    os.kill(escaped(run_dir), signal.SIGKILL)

    await_true(lambda: procfs.stat(escaped(run_dir)) is None)


def test_what_is_executed_below_the_reaper_inherits_nothing_else(
    guarded: Guarded, run_dir: Path
) -> None:
    reader, writer = os.pipe()
    listing = run_dir / "descriptors"
    launched = guarded.reaper.launch(
        Program(("/bin/sh", "-c", "ls /proc/$$/fd"), {"PATH": os.defpath}, listing, (writer,))
    )
    assert launched.wait(LIMIT_S)

    assert listing.read_text().split() == ["0", "1", "2", "3"]
    launched.close()
    os.close(reader)
    os.close(writer)


def test_a_program_that_cannot_be_executed_is_an_error(guarded: Guarded, run_dir: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        guarded.reaper.launch(Program(("/nowhere",), {}, run_dir / "output"))


def test_nothing_can_be_executed_below_a_reaper_that_was_killed(
    guarded: Guarded, run_dir: Path
) -> None:
    os.kill(guarded.reaper.pid or 0, signal.SIGKILL)

    with pytest.raises(ChaosError, match=r"the reaper of run test-.* is gone"):
        guarded.reaper.launch(Program(("/bin/true",), {}, run_dir / "output"))


def test_it_reaps_though_a_process_forked_from_the_runner_lives(
    guarded: Guarded, run_dir: Path
) -> None:
    context = multiprocessing.get_context("fork")
    forked = context.Process(target=signal.pause)
    forked.start()
    try:
        guarded.reaper.reap()

        assert not run_dir.exists()
    finally:
        forked.kill()
        forked.join()


# ---------------------------------------------------------------------- real servers


def redis(**more: Any) -> ServiceSpec:
    """A Redis that becomes a daemon, behind a service of a script."""
    server = program("redis-server", "redis-server")
    start = f"{server} --daemonize yes --save '' --port {{port:redis}} --dir {{run_dir}}"
    pidfile = "--pidfile {run_dir}/escaped"
    wait = "until test -s {run_dir}/escaped; do :; done; echo up; exec sleep 1000"
    return shell("redis", f"{start} {pidfile}; {wait}", ready=LogLine("up"), **more)


def test_a_redis_that_overwrote_its_environment_is_never_left_behind_a_green_run(
    guarded: Guarded, run_dir: Path
) -> None:
    target = guarded.start(redis())
    pid = escaped(run_dir)

    target.stop()

    assert any(f"process {pid} is still alive" in found for found in guarded.audit())
    guarded.reaper.reap()
    assert not procfs.is_alive(pid)


def test_a_redis_that_may_be_left_ends_when_the_target_stops(
    guarded: Guarded, run_dir: Path
) -> None:
    target = guarded.start(redis(leaves=("redis-server",)))
    target.services["redis"].kill()
    assert procfs.is_alive(escaped(run_dir))

    target.stop()

    assert guarded.audit() == ()


@pytest.fixture
def postgres(guarded: Guarded, run_dir: Path) -> ProcessTarget:
    """A PostgreSQL, whose processes overwrite their environment and lead sessions of their own."""
    server, prepare = program("postgres", "postgresql"), program("initdb", "postgresql")
    user = "nobody" if os.geteuid() == 0 else ""
    script = f"{prepare} -D data -A trust --no-sync > initdb.log && exec {server} -D data -F -k ''"
    listen = "-c listen_addresses=127.0.0.1 -p {port:postgres}"
    return guarded.start(
        shell("postgres", f"{script} {listen}", user=user, cwd="{run_dir}/postgres",
              ready=LogLine("ready to accept connections"), start_s=30.0)
    )  # fmt: skip


def test_no_process_of_a_killed_postgres_outlives_it(
    postgres: ProcessTarget, guarded: Guarded
) -> None:
    server = postgres.services["postgres"].pid or 0
    writers = procfs.descendants([server])
    assert writers
    for pid in writers:
        os.kill(pid, signal.SIGSTOP)  # so that none goes by itself once it misses its parent

    postgres.services["postgres"].kill()

    assert [pid for pid in writers if procfs.is_alive(pid)] == []
    postgres.stop()
    assert guarded.audit() == ()


# ---------------------------------------------------------------------- killed runners

RUNNER = """
import signal, sys
from pathlib import Path
from chaos.safety.reaper import Reaper
from chaos.target import Instrumentation
from tests.processes.programs import Programs
from tests.processes.test_escapes import ESCAPING
label, run_dir = sys.argv[1], Path(sys.argv[2])
reaper = Reaper(label, run_dir, remove_run_dir=True)
reaper.start()
target = Programs(ESCAPING)
told = lambda *_: None
target.start(Instrumentation(label, run_dir, lambda _: {}, told, reaper.launch), frozenset())
print(reaper.pid, flush=True)
signal.pause()
"""


def start_runner(label: str, run_dir: Path) -> tuple[subprocess.Popen[str], int]:
    """A runner in a process of its own, and its reaper."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, label, str(run_dir)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_killed_runner_leaves_no_daemon_that_cleared_its_environment(
    label: str, run_dir: Path
) -> None:
    process, _ = start_runner(label, run_dir)
    pid = escaped(run_dir)
    with process:
        process.kill()

    await_true(lambda: not procfs.is_alive(pid) and not run_dir.exists())
    await_true(lambda: not groups(label))


def groups(label: str) -> list[Path]:
    """The control groups of a run that are left."""
    probe = cgroup.make(f"{label}-probe")
    if probe is None:
        return []
    cgroup.remove(probe)
    return list(probe.parent.glob(f"chaos-{label}*"))


def kill_both(label: str, run_dir: Path) -> int:
    """Kill reaper and runner; the process that has escaped then."""
    process, reaper = start_runner(label, run_dir)
    with process:
        os.kill(reaper, signal.SIGKILL)
        await_true(lambda: not procfs.is_alive(reaper))
        process.kill()
    # The warm parent ends by itself what it can still reach; what it does so late is not at stake.
    await_true(lambda: not list(procfs.labelled(label)))
    return escaped(run_dir)


def test_the_next_run_removes_the_directory_of_a_run_whose_reaper_was_killed_too(
    label: str, run_dir: Path
) -> None:
    pid = kill_both(label, run_dir)
    assert run_dir.exists()

    reap_stale()

    assert (run_dir.exists(), groups(label)) == (False, [])
    if procfs.is_alive(pid):  # without a control group nobody knows it any more
        os.kill(pid, signal.SIGKILL)


def test_the_next_run_ends_what_is_left_in_the_group_of_a_run_whose_reaper_was_killed_too(
    label: str, run_dir: Path
) -> None:
    group = cgroup.make(f"{label}-probe")
    if group is None:
        pytest.skip("this machine lets nobody make a control group")
    cgroup.remove(group)
    pid = kill_both(label, run_dir)
    try:
        assert procfs.is_alive(pid)

        reap_stale()

        assert not procfs.is_alive(pid)
    finally:
        if procfs.is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_the_directory_of_a_run_that_lives_is_not_touched(guarded: Guarded, run_dir: Path) -> None:
    target = guarded.start(shell("one", "echo up; exec sleep 1000", ready=LogLine("up")))

    reap_stale()

    assert (run_dir.exists(), target.services["one"].pid is None) == (True, False)
    target.stop()


def test_the_directory_of_a_run_whose_reaper_was_killed_is_not_touched_while_the_run_lives(
    label: str, run_dir: Path
) -> None:
    process, reaper = start_runner(label, run_dir)
    with process:
        os.kill(reaper, signal.SIGKILL)
        await_true(lambda: not procfs.is_alive(reaper))

        reap_stale()

        assert (run_dir.exists(), procfs.is_alive(escaped(run_dir))) == (True, True)
        process.kill()
    os.kill(escaped(run_dir), signal.SIGKILL)
    await_true(lambda: not list(procfs.labelled(label)))
    reap_stale()
    assert groups(label) == []


def test_the_directory_of_a_killed_runner_is_left_to_its_reaper(label: str, run_dir: Path) -> None:
    process, reaper = start_runner(label, run_dir)
    with process:
        os.kill(reaper, signal.SIGSTOP)
        process.kill()

    reap_stale()

    left = run_dir.exists()
    os.kill(reaper, signal.SIGCONT)
    assert left
    await_true(lambda: not run_dir.exists())


@pytest.fixture
def foreign(run_dir: Path) -> Path:
    """A directory that is called like one of ours."""
    return run_dir


@pytest.mark.parametrize(
    "owner", [None, '{"label": "another", "group": ""}', "{", '["label"]', "\0"]
)
def test_a_directory_that_does_not_say_that_it_is_ours_stays(
    foreign: Path, owner: str | None
) -> None:
    if owner is not None:
        (foreign / ".owner").write_text(owner)

    reap_stale()

    assert foreign.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
def test_a_directory_of_another_user_stays(foreign: Path, label: str) -> None:
    (foreign / ".owner").write_text(f'{{"label": "{label}", "group": ""}}')
    os.chown(foreign, 65534, 65534)

    reap_stale()

    assert foreign.exists()


def test_a_directory_that_was_to_be_kept_stays(label: str, foreign: Path) -> None:
    with Reaper(label, foreign, remove_run_dir=False):
        pass

    reap_stale()

    assert foreign.exists()


def await_true(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)
