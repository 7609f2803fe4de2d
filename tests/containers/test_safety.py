"""However the runner dies, nothing of its run is left, and nobody else's containers are touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.containers import images
from targets.containers.engine import LABEL, EngineError, connect, left, remove

ROOT = Path(__file__).parents[2]
PLAN = """
plan: any
target: containers
during:
  - server.create: {name: vm}
inject:
  - at: before compute.build
    do: crash
"""
LIMIT_S = 300.0
REAPED_S = 60.0
"""15 seconds on a machine that has nothing else to do."""
pytestmark = [
    pytest.mark.timeout(900),
    # The docker package leaves streams that have ended to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def stranger(engine: Any, services: str) -> Iterator[Any]:
    """A container of another run."""
    label = f"stranger-{uuid.uuid4().hex[:8]}"
    container = engine.containers.run(
        services, ["sleep", "900"], name=label, labels={LABEL: label}, detach=True
    )
    yield container
    remove(engine, label)


def test_a_killed_runner_leaves_nothing_and_touches_nobody_else(
    engine: Any, stranger: Any, tmp_path: Path
) -> None:
    (tmp_path / "any.plan.yaml").write_text(PLAN)
    before = {one.id for one in engine.containers.list(all=True)}
    with subprocess.Popen(
        [sys.executable, "-m", "chaos", "run", "any.plan.yaml"], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as runner:  # fmt: skip
        try:
            label = _label_of(engine, runner, before)
        finally:
            runner.send_signal(signal.SIGKILL)
    end = time.monotonic() + REAPED_S
    while (found := left(engine, label)) and time.monotonic() < end:
        time.sleep(0.1)
    assert found == []
    stranger.reload()
    assert stranger.status == "running"


def _label_of(engine: Any, runner: subprocess.Popen[str], before: set[str]) -> str:
    """The label of the run, as soon as three of its containers are there."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        labels = [
            one.labels.get(LABEL, "")
            for one in engine.containers.list(ignore_removed=True)
            if one.id not in before
        ]
        mine = [label for label in labels if label.startswith(f"{runner.pid}-")]
        if len(mine) >= 3:
            return str(mine[0])
        if runner.poll() is not None:
            pytest.fail(f"the run ended: {runner.stdout.read() if runner.stdout else ''}")
        time.sleep(0.1)
    pytest.fail("no containers were started")


# ---------------------------------------------------------------------- what is not there


def test_no_engine_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(EngineError, match=r"^cannot connect: no Docker engine answers here: start"):
        connect()


def test_a_run_without_an_engine_ends_by_that_line(tmp_path: Path) -> None:
    (tmp_path / "any.plan.yaml").write_text(PLAN)
    ended = subprocess.run(
        [sys.executable, "-m", "chaos", "run", "any.plan.yaml"], cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": f"unix://{tmp_path}/no.sock"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "no Docker engine answers here" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_base_that_is_nowhere_is_named(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_IMAGE_PYTHON", "localhost:1/no-such-image:1")
    monkeypatch.delenv("CHAOS_IMAGE_OFFLINE", raising=False)
    with pytest.raises(EngineError, match="localhost:1/no-such-image"):
        images.services(engine)


def test_an_image_is_named_by_the_environment_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHAOS_IMAGE_RABBITMQ", raising=False)
    assert images.image("rabbitmq") == images.PUBLIC["rabbitmq"]
    Path("pyproject.toml").write_text('[tool.chaos.images]\nrabbitmq = "ours/rabbitmq:1"\n')
    assert images.image("rabbitmq") == "ours/rabbitmq:1"
    monkeypatch.setenv("CHAOS_IMAGE_RABBITMQ", "mine:2")
    assert images.image("rabbitmq") == "mine:2"
