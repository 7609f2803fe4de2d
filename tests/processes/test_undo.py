"""The undo log: what was written before a fault is undone by whoever is alive."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.errors import UndoError
from chaos.safety import procfs
from chaos.safety.undo import Entry, RemovePath, Thaw, UndoLog


@dataclass(frozen=True, slots=True)
class Note(Entry):
    """Notes in a file that it was undone."""

    path: str
    text: str

    def undo(self) -> None:
        with Path(self.path).open("a") as file:
            file.write(self.text)


@dataclass(frozen=True, slots=True)
class Impossible(Entry):
    reason: str

    def undo(self) -> None:
        raise OSError(self.reason)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def test_open_entries_are_undone_newest_first(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    for text in "123":
        log.push(Note(str(tmp_path / "notes"), text))

    log.undo_all()

    assert (tmp_path / "notes").read_text() == "321"


def test_what_is_done_is_not_undone(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    log.done(log.push(Note(str(tmp_path / "notes"), "1")))

    log.undo_all()

    assert not (tmp_path / "notes").exists()


def test_what_was_undone_is_not_undone_again(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    log.push(Note(str(tmp_path / "notes"), "1"))
    log.undo_all()

    log.undo_all()

    assert (tmp_path / "notes").read_text() == "1"


def test_another_process_finds_what_the_log_holds_open(tmp_path: Path) -> None:
    UndoLog(tmp_path).push(RemovePath("somewhere"))

    assert [str(entry) for entry in UndoLog(tmp_path).open] == [
        "chaos.safety.undo:RemovePath(path='somewhere')"
    ]


def test_a_log_that_is_opened_again_gives_new_tokens(tmp_path: Path) -> None:
    first = UndoLog(tmp_path).push(RemovePath("a"))

    assert UndoLog(tmp_path).push(RemovePath("b")) != first


def test_a_line_that_was_cut_off_by_a_death_is_ignored(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    log.push(RemovePath("whole"))
    with log.path.open("a") as file:
        file.write('{"token": 2, "kind": "chaos.un')

    assert [entry.arguments["path"] for entry in UndoLog(tmp_path).open] == ["whole"]


def test_a_failure_does_not_keep_the_others_from_being_undone(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    log.push(Note(str(tmp_path / "notes"), "1"))
    log.push(Impossible("the network is gone"))

    with pytest.raises(UndoError):
        log.undo_all()

    assert (tmp_path / "notes").read_text() == "1"


def test_every_failure_is_told(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    log.push(Impossible("first reason"))
    log.push(Impossible("second reason"))

    with pytest.raises(UndoError, match=r"second reason.*first reason"):
        log.undo_all()


def test_what_could_not_be_undone_stays_open(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    token = log.push(Impossible("no"))
    with pytest.raises(UndoError):
        log.undo_all()

    assert [entry.token for entry in log.open] == [token]


def test_a_stopped_process_is_thawed(bystander: subprocess.Popen[bytes]) -> None:
    undo = Thaw.of(bystander.pid)
    stop(bystander)

    undo.undo()

    assert not procfs.is_stopped(bystander.pid)


def test_a_process_that_only_got_the_pid_of_the_stopped_one_is_not_touched(
    bystander: subprocess.Popen[bytes],
) -> None:
    earlier = Thaw(bystander.pid, Thaw.of(bystander.pid).started - 1)
    stop(bystander)

    earlier.undo()

    assert procfs.is_stopped(bystander.pid)


def test_thawing_a_process_that_is_gone_does_nothing(bystander: subprocess.Popen[bytes]) -> None:
    undo = Thaw.of(bystander.pid)
    bystander.kill()
    bystander.wait()

    undo.undo()


@pytest.mark.parametrize("kind", ["file", "directory", "nothing"])
def test_a_path_is_removed_whatever_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "left"
    if kind == "file":
        path.touch()
    elif kind == "directory":
        (path / "inner").mkdir(parents=True)

    RemovePath(str(path)).undo()

    assert not path.exists()
