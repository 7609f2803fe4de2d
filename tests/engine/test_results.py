"""The results folder: one run at a time writes to it, and none deletes what another one wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.journal import Journal
from chaos.journal.results import begin, finish, parts

HOLDER = """
import signal, sys
from pathlib import Path
from chaos.journal.results import begin
journal = begin(Path(sys.argv[1]), *sys.argv[2:])
journal.residue("mine")
print(flush=True)
signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def holder(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Another process that has begun to write."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("mine", [(), ("gw0", "b1")], ids=["whole", "part"])
@pytest.mark.parametrize("theirs", [(), ("gw0", "a1")], ids=["whole", "part"])
def test_a_second_run_is_refused_and_the_first_loses_nothing(
    folder: Path, theirs: tuple[str, ...], mine: tuple[str, ...]
) -> None:
    with holder(folder, *theirs) as other:
        with pytest.raises(ChaosError, match=rf"another run \(process {other.pid}\) writes to"):
            begin(folder, *mine)
        found = parts(folder, "a1") if theirs else [folder / "journal.sqlite"]
        with Journal(found[0], readonly=True) as journal:
            assert journal.residues() == ("mine",)
        other.kill()


def test_processes_of_one_run_write_side_by_side(folder: Path) -> None:
    with holder(folder, "gw0", "a1") as other:
        with begin(folder, "gw1", "a1"):
            assert len(parts(folder, "a1")) == 2
        other.kill()


def test_what_a_killed_run_left_is_replaced(folder: Path) -> None:
    with holder(folder, "gw0", "a1") as other:
        other.kill()

    with begin(folder, run="b1") as journal:
        assert (journal.residues(), parts(folder, "a1")) == ((), [])
    assert [path.name for path in folder.iterdir()] == ["journal.sqlite"]


def test_a_folder_is_free_once_the_journal_is_closed(folder: Path) -> None:
    begin(folder).close()

    begin(folder).close()


def test_a_folder_that_was_deleted_is_told_and_made_again(folder: Path) -> None:
    with begin(folder) as journal:
        journal.residue("a file")
        shutil.rmtree(folder)

        written = finish(journal, folder)

        assert "was deleted or replaced" in journal.residues()[1]
    assert folder / "report.html" in written
    with Journal(folder / "journal.sqlite", readonly=True) as found:
        assert len(found.residues()) == 2


def test_a_folder_that_another_run_has_taken_meanwhile_is_left_alone(folder: Path) -> None:
    with begin(folder) as journal:
        shutil.rmtree(folder)
        with holder(folder) as other:
            assert finish(journal, folder) == []

            with Journal(folder / "journal.sqlite", readonly=True) as found:
                assert found.residues() == ("mine",)
            assert "was deleted or replaced" in journal.residues()[0]
            other.kill()


def test_a_report_that_cannot_be_written_is_one_message(folder: Path) -> None:
    with begin(folder) as journal:
        (folder / "report.html").mkdir()

        with pytest.raises(ChaosError, match=r"no results can be written to the folder .*results"):
            finish(journal, folder)
