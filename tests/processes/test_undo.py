"""The undo log: what was written before a fault is undone by whoever is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


def test_a_line_after_one_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    (tmp_path / "undo.jsonl").write_text('{"token": 1, "kind": "chaos.un')
    UndoLog(tmp_path).push(RemovePath("whole"))

    assert [entry.arguments["path"] for entry in UndoLog(tmp_path).open] == ["whole"]


def test_an_entry_that_does_not_fit_on_the_disk_is_refused_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, write = UndoLog(tmp_path), os.write
    log.push(RemovePath("before"))
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, text: write(descriptor, text[:9]))
        with pytest.raises(UndoError, match="disk full"):
            log.push(RemovePath("refused"))
    log.push(RemovePath("after"))

    for read in (log, UndoLog(tmp_path)):
        assert [entry.arguments["path"] for entry in read.open] == ["before", "after"]


def test_the_file_is_empty_when_nothing_is_open(tmp_path: Path) -> None:
    log = UndoLog(tmp_path)
    first, second = log.push(RemovePath("a")), log.push(RemovePath("b"))
    log.done(first)
    assert log.path.stat().st_size > 0

    log.done(second)

    assert log.path.stat().st_size == 0


def test_a_round_costs_as_much_after_a_thousand_others_and_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UndoLog(tmp_path)
    written, largest, write = [0], 0, os.write

    def counted(descriptor: int, text: bytes) -> int:
        written[0] += len(text)
        return write(descriptor, text)

    monkeypatch.setattr(os, "write", counted)
    monkeypatch.setattr(Path, "read_text", None)
    each: list[int] = []
    for _ in range(1000):
        before = written[0]
        token = log.push(Note(str(tmp_path / "notes"), "1"))
        largest = max(largest, log.path.stat().st_size)
        log.undo_all()
        log.undo_all()
        log.done(token)
        each.append(written[0] - before)

    # The note's own text is the one byte that is written beside; tokens grow by digits.
    assert max(each) - min(each) <= 3
    assert largest <= max(each)


UNDOING = """
import os, signal, sys
from pathlib import Path
from chaos.safety.undo import RemovePath, UndoLog

folder, write = Path(sys.argv[1]), os.write

def run(moment):
    log = UndoLog(folder / str(moment))
    notes = os.open(folder / str(moment) / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    calls = 0

    def deadly(call):
        def called(*arguments):
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)
        return called

    for name in ("open", "write", "close", "truncate"):
        setattr(os, name, deadly(getattr(os, name)))
    note = lambda *words: write(notes, " ".join(words).encode() + b"\\n")
    tokens = {}

    def push(name):
        note("pushing", name)
        tokens[name] = log.push(RemovePath(name))
        note("pushed", name)

    def done(name):
        note("ending", name)
        log.done(tokens[name])
        note("done", name)

    for turn in "12":
        push("a" + turn)
        push("b" + turn)
        done("a" + turn)
        push("c" + turn)
        done("c" + turn)
        done("b" + turn)

moment, killed = 0, True
while killed:
    moment += 1
    (folder / str(moment)).mkdir()
    child = os.fork()
    if not child:
        run(moment)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
"""


def test_killed_at_any_system_call_the_log_holds_what_may_have_struck_and_nothing_that_ended(
    tmp_path: Path,
) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", UNDOING, str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, timeout=60)
    moments = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    for moment in moments:
        told: dict[str, str] = {}
        for line in (moment / "notes").read_text().splitlines():
            word, name = line.split()
            told[name] = word
        found = {entry.arguments["path"] for entry in UndoLog(moment).open}
        must = {name for name, word in told.items() if word == "pushed"}
        may = {name for name, word in told.items() if word in ("pushing", "ending")}
        assert must <= found <= must | may, moment
        assert len(may) <= 1
    # Each turn opens, writes and closes the file for three pushes and two ends; the last cuts it.
    assert len(moments) == 2 * (5 * 3 + 1) + 1
    assert UndoLog(moments[-1]).open == ()


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
