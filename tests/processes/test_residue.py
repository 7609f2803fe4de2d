"""The residue audit: a sentence for each planted leftover, silence when there is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.safety.members import Members
from chaos.safety.residue import audit
from chaos.safety.undo import RemovePath, UndoLog

LISTENER = """
import signal, socket
holder = socket.create_server(("127.0.0.1", 0))
print(holder.getsockname()[1], flush=True)
signal.pause()
"""


@pytest.fixture
def leftover(label: str) -> Iterator[subprocess.Popen[str]]:
    """A labelled process; its first line is the port on which it listens."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        stdout=subprocess.PIPE,
        text=True,
        env={"CHAOS_RUN": label},
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_clean_run_has_no_residue(label: str, tmp_path: Path) -> None:
    assert audit(Members(label), run_dir=tmp_path) == ()


def test_a_living_process_is_named(
    label: str, tmp_path: Path, leftover: subprocess.Popen[str]
) -> None:
    port_of(leftover)

    assert f"process {leftover.pid} is still alive" in audit(Members(label), run_dir=tmp_path)[0]


def test_a_listening_socket_is_named(
    label: str, tmp_path: Path, leftover: subprocess.Popen[str]
) -> None:
    port = port_of(leftover)

    assert f"process {leftover.pid} still listens on port {port}" in audit(
        Members(label), run_dir=tmp_path
    )


def test_a_stopped_process_is_named_even_when_it_is_expected(
    label: str, tmp_path: Path, leftover: subprocess.Popen[str]
) -> None:
    port_of(leftover)
    leftover.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, leftover.pid, os.WSTOPPED)

    (found,) = audit(Members(label), run_dir=tmp_path, expected_pids=frozenset({leftover.pid}))

    assert re.match(rf"process {leftover.pid} is still stopped", found)


def test_a_fault_that_was_not_undone_is_named(label: str, tmp_path: Path) -> None:
    UndoLog(tmp_path).push(RemovePath("/somewhere"))

    assert audit(Members(label), run_dir=tmp_path) == (
        "a fault was not undone: chaos.safety.undo:RemovePath(path='/somewhere')",
    )


@pytest.fixture
def stray_file(label: str) -> Iterator[Path]:
    path = Path(tempfile.gettempdir()) / f"chaos-{label}.stray"
    path.touch()
    yield path
    path.unlink()


def test_a_file_outside_the_run_directory_is_named(
    label: str, tmp_path: Path, stray_file: Path
) -> None:
    assert audit(Members(label), run_dir=tmp_path) == (
        f"{stray_file} lies outside the run directory",
    )


def test_a_known_file_is_no_residue(label: str, tmp_path: Path, stray_file: Path) -> None:
    assert audit(Members(label), run_dir=tmp_path, known_files=frozenset({stray_file})) == ()


def test_a_process_without_the_label_is_no_residue(
    label: str, tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    assert audit(Members(label), run_dir=tmp_path) == ()
