"""A session that cannot be opened or closed in order leaves nothing all the same, and says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chaos.engine.session import LOG_LINES, Session, _ends
from chaos.errors import TargetError
from chaos.journal import Journal
from chaos.operation import Operations, Scope
from chaos.safety import procfs
from chaos.safety.reaper import Reaper
from chaos.target import Instrumentation, Service, Target
from chaos.world import World


class Stubborn(Target):
    """Starts one process, and does not end it."""

    name = "stubborn"
    points: Mapping[str, Any] = {}
    operations = Operations()
    bugs: Mapping[str, str] = {}
    services: Mapping[str, Service] = {}
    starts = True
    process: subprocess.Popen[bytes] | None = None

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Start the process."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"],
            env={procfs.LABEL: instrumentation.label},
        )
        if not self.starts:
            raise TargetError("it does not start")

    def stop(self) -> None:
        """Fail."""
        raise TargetError("it does not want to")

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Nothing to do."""

    def client(self) -> Any:
        """None is needed."""

    def observe(self) -> World:
        """An empty world."""
        return World()

    def settle(self, deadline_s: float) -> None:
        """Nothing is under way."""

    def clean_up(self, scope: Scope) -> None:
        """Nothing was made."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubborn]:
    """The target that ``stubborn:target`` gives; its process is collected at the end."""
    target = Stubborn()
    module = ModuleType("stubborn")
    module.__dict__["target"] = lambda: target
    monkeypatch.setitem(sys.modules, "stubborn", module)
    yield target
    if target.process is not None:
        target.process.kill()
        target.process.wait()


def test_a_target_that_does_not_stop_is_residue_and_its_processes_are_ended(
    journal: Journal, stubborn: Stubborn
) -> None:
    with Session("stubborn:target", journal) as session:
        assert stubborn.process is not None
    assert session.residue[0] == "the target did not stop: it does not want to"
    assert f"process {stubborn.process.pid} is still alive" in session.residue[1]
    assert journal.residues() == session.residue
    assert stubborn.process.wait(5) == -9
    assert not session.run_dir.exists()


def test_a_target_that_does_not_start_leaves_nothing(journal: Journal, stubborn: Stubborn) -> None:
    stubborn.starts = False
    session = Session("stubborn:target", journal)
    with pytest.raises(TargetError, match="it does not start"):
        session.__enter__()
    assert stubborn.process is not None
    assert stubborn.process.wait(5) == -9
    assert not session.run_dir.exists()


def test_an_interrupt_while_the_target_stops_leaves_nothing(
    journal: Journal, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stubborn, "stop", interrupted)
    session = Session("stubborn:target", journal)
    with pytest.raises(KeyboardInterrupt), session:
        pass
    assert stubborn.process is not None
    assert stubborn.process.wait(5) == -9
    assert not session.run_dir.exists()


def test_without_a_reaper_no_run_directory_stays(
    journal: Journal, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Reaper) -> None:
        raise OSError("no process can be started")

    monkeypatch.setattr(Reaper, "start", fails)
    session = Session("stubborn:target", journal)
    with pytest.raises(OSError, match="no process"):
        session.__enter__()
    assert not session.run_dir.exists()
    assert stubborn.process is None


def test_a_reaper_that_was_killed_is_told(journal: Journal, stubborn: Stubborn) -> None:
    with Session("stubborn:target", journal) as session:
        (reaper,) = (pid for pid in procfs.descendants([os.getpid()]) if is_reaper(pid, session))
        os.kill(reaper, signal.SIGKILL)
        os.waitid(os.P_PID, reaper, os.WEXITED | os.WNOWAIT)
    assert "the reaper was killed" in session.residue[1]
    assert stubborn.process is not None
    assert stubborn.process.wait(5) == -9
    assert not session.run_dir.exists()


def is_reaper(pid: int, session: Session) -> bool:
    """Whether it is that of this session: others may have theirs in this process."""
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return "reaper.py" in command and session.label in command


def test_closing_twice_tells_what_was_left_once(journal: Journal, stubborn: Stubborn) -> None:
    with Session("stubborn:target", journal) as session:
        pass
    session.close()
    assert journal.residues() == session.residue


def test_of_a_long_log_the_first_lines_after_a_fault_and_the_last_ones_are_kept() -> None:
    lines = [f"line {number}" for number in range(1000)]

    kept = _ends(lines)

    assert kept[:1] + kept[-1:] == ["line 0", "line 999"]
    assert kept[LOG_LINES] == "… 920 lines …"
    assert len(kept) == 2 * LOG_LINES + 1


def test_a_short_log_is_kept_whole() -> None:
    lines = ["line"] * 2 * LOG_LINES

    assert _ends(lines) == lines
