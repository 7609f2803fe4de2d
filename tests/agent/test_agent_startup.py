"""Points that are not there yet, or not as they were: main programs, imports under way, reloads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Arm, Controller
from chaos.point import Point, When

from .conftest import DEADLINE_S, Service, point

GREETING = "def greet(): return 'hello'\n"
TALK = "import sys\nfor line in sys.stdin: print(greet(), flush=True)\n"


class Program:
    """A script that greets for each line that it gets."""

    def __init__(self, controller: Controller, path: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *options] if options else [sys.executable, path],
            env={**os.environ, **controller.environment("greeter")},
            cwd=path.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def greet(self) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def running(controller: Controller, path: Path, *options: str) -> Iterator[Program]:
    program = Program(controller, path, *options)
    with program.process:
        yield program
        program.process.kill()
    with controller._changed:
        assert controller._changed.wait_for(lambda: not controller.connected, DEADLINE_S)


def until(arm: Arm, state: str, service: str = "greeter") -> bool:
    """Wait until the service, as it lives now, says this of an arm, or more."""

    def said() -> bool:
        lives = any(agent.connected for agent in arm._states)
        return lives and arm.state.get(service, "").startswith(state)

    with arm._changed:
        return arm._changed.wait_for(said, DEADLINE_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "greeting.py").write_text(GREETING)
    return tmp_path / "script.py"


@pytest.mark.parametrize("options", [(), ("-m", "script")])
def test_a_point_in_the_main_program_is_armed_as_soon_as_it_is_there_whenever_it_starts(
    path: Path, controller: Controller, options: tuple[str, ...]
) -> None:
    path.write_text(GREETING + TALK)
    arm = controller.arm(Point("__main__:greet"), When.BEFORE, Action.answer("struck"), times=None)
    for _ in range(2):
        with running(controller, path, *options) as program:
            assert until(arm, "armed")
            assert program.greet() == "struck"


def test_a_point_that_the_main_program_has_not_come_to_is_pending(
    path: Path, controller: Controller
) -> None:
    path.write_text("import sys\nsys.stdin.readline()\n" + GREETING + TALK)
    with running(controller, path) as program:
        controller.wait_connected(["greeter"], DEADLINE_S)
        arm = controller.arm(Point("__main__:greet"), When.BEFORE, Action.answer("struck"))
        assert arm.state == {"greeter": "pending"}
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        assert until(arm, "armed")
        assert program.greet() == "struck"


def test_a_misspelt_point_in_the_main_program_is_an_error(
    path: Path, controller: Controller
) -> None:
    path.write_text(GREETING + TALK)
    arm = controller.arm(Point("__main__:great"), When.BEFORE, Action.answer("struck"))
    with running(controller, path):
        assert until(arm, "error: `__main__` has no `great`; did you mean `__main__:greet`?")


def test_who_is_armed_as_soon_as_its_agent_connects_is_armed(
    path: Path, controller: Controller
) -> None:
    path.write_text("from greeting import greet\n" + TALK)
    for _ in range(10):
        with running(controller, path) as program:
            controller.wait_connected(["greeter"], DEADLINE_S)
            arm = controller.arm(Point("greeting:greet"), When.BEFORE, Action.answer("struck"))
            assert until(arm, "armed")
            assert program.greet() == "struck"


def test_a_module_that_another_thread_imports_holds_up_nobody(
    service: Service, controller: Controller
) -> None:
    importing = service.begin("__import__('slow').slow(1)")
    assert service.ask("entered.wait(5)")
    arm = controller.arm(Point("slow:slow"), When.BEFORE, Action.answer("struck"), times=None)
    assert arm.state == {"shop": "pending"}
    service.ask("shelf.put(1)")
    importing.result(DEADLINE_S)
    assert until(arm, "armed", "shop")
    assert service.ask("__import__('slow').slow(1)") == "struck"


def test_a_module_that_is_loaded_again_is_armed_again(
    service: Service, controller: Controller
) -> None:
    service.ask("__import__('late').late(1)")
    arm = controller.arm(Point("late:late"), When.BEFORE, Action.answer("struck"), times=None)
    for _ in range(2):
        service.ask("__import__('importlib').reload(__import__('late')).__name__")
        assert service.ask("__import__('late').late(1)") == "struck"
    arm.disarm()
    assert service.ask("__import__('late').late(1)") == 1


def test_a_name_that_means_another_function_is_armed_again_when_next_asked(
    service: Service, controller: Controller
) -> None:
    controller.arm(point("plain"), When.BEFORE, Action.answer("struck"), times=None)
    service.ask("setattr(shop, 'plain', lambda value: 'other')")
    assert controller.armed() == {"shop": ("shop:plain",)}
    assert service.ask("shop.plain(7)") == "struck"
