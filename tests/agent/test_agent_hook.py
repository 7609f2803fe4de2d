"""The way in for executed programs: ``sitecustomize`` on PYTHONPATH."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Arm, Controller
from chaos.point import Point, When

MODULE = "def greet(): return 'hello'\n"
SCRIPT = "from greeting import greet\nprint(greet())\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A plain program of two files."""
    (tmp_path / "greeting.py").write_text(MODULE)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def run(script: Path, environment: Mapping[str, str], *options: str) -> tuple[str, str]:
    """What the program wrote to standard output and error."""
    done = subprocess.run(
        [sys.executable, *options, script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout, done.stderr


@contextlib.contextmanager
def running(script: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The program, until the end of its standard input."""
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program


def until(arm: Arm, state: str) -> bool:
    """Wait until the service says this of an arm, or more."""
    with arm._changed:
        return arm._changed.wait_for(lambda: arm.state.get("greeter", "").startswith(state), 10)


@pytest.fixture
def armed(controller: Controller) -> dict[str, str]:
    """Environment for a service in which ``greeting:greet`` is armed."""
    controller.arm(Point("greeting:greet"), When.BEFORE, Action.answer("struck"), times=None)
    return controller.environment("greeter")


def test_a_plain_script_is_armed_before_its_first_line(script: Path, armed: dict[str, str]) -> None:
    assert run(script, armed) == ("struck\n", "")


def test_a_misspelt_module_is_told_once_the_program_runs(
    script: Path, controller: Controller
) -> None:
    """At the hook's time the directory of the script is not on sys.path: pending is no error."""
    arm = controller.arm(Point("greetings:greet"), When.BEFORE, Action.answer("struck"))
    script.write_text("import sys; sys.stdin.read()\n" + SCRIPT)
    with running(script, controller.environment("greeter")):
        assert until(arm, "error: no module `greetings`; did you mean `greeting`")


def test_the_hook_does_nothing_without_a_controller(script: Path, armed: dict[str, str]) -> None:
    script.write_text("import sys; print('_chaos_agent' in sys.modules)")
    assert run(script, {"PYTHONPATH": armed["PYTHONPATH"]}) == ("False\n", "")


def test_a_controller_that_is_gone_costs_one_line_on_standard_error(script: Path) -> None:
    with Controller(label="gone") as gone:
        environment = gone.environment("greeter")
    output, errors = run(script, environment)
    assert output == "hello\n"
    assert errors.startswith("chaos agent: not started: ConnectionRefusedError")
    assert len(errors.splitlines()) == 1


def test_a_controller_that_does_not_speak_costs_one_line_on_standard_error(script: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        with Controller(label="other") as other:
            environment = other.environment("greeter")
        environment["CHAOS_CONTROLLER"] = f"127.0.0.1:{server.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, script],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as program:
            server.accept()[0].close()
            output, errors = program.communicate(timeout=20)
    assert output == "hello\n"
    assert errors.startswith("chaos agent: not started: Connection")
    assert len(errors.splitlines()) == 1


def test_the_sitecustomize_that_the_hook_hides_runs_too(
    script: Path, armed: dict[str, str], tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("print('customized'); here = __file__")
    script.write_text("import sitecustomize; print(sitecustomize.here)\n" + SCRIPT)
    path = os.pathsep.join([armed["PYTHONPATH"], str(hidden)])
    output, errors = run(script, {**armed, "PYTHONPATH": path})
    assert output.split() == ["customized", str(hidden / "sitecustomize.py"), "struck"]
    assert errors == ""


def test_the_agent_needs_nothing_but_its_own_directory(script: Path, armed: dict[str, str]) -> None:
    """With -S no installed distribution can be imported, so neither can ``chaos``."""
    script.write_text(
        "import sitecustomize, sys, sysconfig\n" + SCRIPT + "import os\n"
        "own = os.path.dirname(sys.modules['_chaos_agent'].__file__)\n"
        "standard = sysconfig.get_path('stdlib')\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    file = getattr(module, '__file__', None) or standard\n"
        "    if not file.startswith((own, standard, os.path.dirname(__file__))):\n"
        "        print(name, file)\n"
        "print(any(name.partition('.')[0] == 'chaos' for name in sys.modules))\n"
    )
    assert run(script, armed, "-S") == ("struck\nFalse\n", "")
