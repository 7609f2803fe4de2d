"""What a person may get wrong, and where the command may be run: a line for each, no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.terminal import plain, shown
from tests.conftest import LEDGER
from tests.plugin.conftest import QUICKLY
from tests.plugin.test_cli import PLAN, ROOT, chaos

SYSTEM = "from tests.ledger.ledger import *\n"
ENDS = "it ends the program, where it should give a target"


# ---------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit()", f"system.py:2: {ENDS}"),
        ("import sys\ndef target():\n    sys.exit(0)", f"system.py:3: {ENDS}"),
        ("raise SystemExit", f"system.py:1: {ENDS}"),
        ("import os\nos.abort()", f"system.py:2: {ENDS}"),
        ("from os import _exit\n_exit(0)", f"system.py:2: {ENDS}"),
        ("def target():\n    return 7", "gives no target, but something of the type int"),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_target_file_that_ends_the_program_is_told(
    tmp_path: Path, text: str, message: str, command: str
) -> None:
    (tmp_path / "system.py").write_text(text)
    done = chaos(command, PLAN, "--target", "system.py", cwd=tmp_path, expect=2)
    assert message in done.stderr


def test_a_plan_whose_target_ends_the_program_is_told_with_its_line(tmp_path: Path) -> None:
    plan = tmp_path / "wrong.plan.yaml"
    plan.write_text(PLAN.read_text().replace(LEDGER, '"sys:exit"'))
    done = chaos("run", plan, cwd=tmp_path, expect=2)
    assert f"wrong.plan.yaml:3: the target `sys:exit` is broken: {ENDS}" in done.stderr


@pytest.mark.parametrize("target", ["system.py", "system:target"])
def test_checking_a_plan_executes_no_code_that_the_plan_names(tmp_path: Path, target: str) -> None:
    (tmp_path / "system.py").write_text("open('executed', 'w')")
    plan = tmp_path / "foreign.plan.yaml"
    plan.write_text(PLAN.read_text().replace(LEDGER, target))
    done = chaos("validate", plan, cwd=tmp_path, expect=2)
    assert "foreign.plan.yaml:3: the plan names a target of its own" in done.stderr
    assert not (tmp_path / "executed").exists()


def test_two_plans_of_one_name_are_told_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "twice.plan.yaml").write_text(f"{PLAN.read_text()}\n---\n{PLAN.read_text()}")
    done = chaos("validate", "twice.plan.yaml", "--target", LEDGER, cwd=tmp_path, expect=2)
    assert "there is already a plan `crash-between-debit-and-credit`, at twice.plan" in done.stderr


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A plan beside the target that it names, in a folder of its own; the folder."""
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "system.py").write_text(SYSTEM)
    (folder / "own.plan.yaml").write_text(PLAN.read_text().replace(LEDGER, "system.py"))
    return folder


def test_a_target_file_stands_beside_the_plan_that_names_it(apart: Path, tmp_path: Path) -> None:
    done = chaos("run", "plans/own.plan.yaml", "--no-bugs", cwd=tmp_path)
    again = next(line for line in done.stdout.splitlines() if line.strip().startswith("chaos run"))
    chaos(*again.split()[1:], cwd=tmp_path)


def test_a_target_file_stands_beside_the_plan_under_pytest_too(apart: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *QUICKLY.split(),
         "--chaos-no-bugs", "plans"],
        cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "1 passed" in done.stdout


def test_a_trial_is_replayed_from_any_folder(apart: Path, tmp_path: Path) -> None:
    from chaos.journal import Journal

    chaos("run", "plans/own.plan.yaml", "--no-bugs", cwd=tmp_path)
    journal = tmp_path / "chaos-results/journal.sqlite"
    with Journal(journal, readonly=True) as opened:
        (trial,) = opened.trials()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    chaos("replay", trial.id, "--journal", journal, cwd=elsewhere)


# ---------------------------------------------------------------------- terminals


def bare(arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command by a shell, which can redirect what it writes."""
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} -m chaos {arguments}"], cwd=cwd, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_terminal_that_knows_ascii_only_is_told_all_the_same(tmp_path: Path) -> None:
    done = bare(f"run {PLAN} --no-bugs", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "+ crash-between-debit-and-credit: PASS" in done.stderr


def test_a_run_whose_output_is_closed_goes_on(tmp_path: Path) -> None:
    done = bare(f"run {PLAN} --no-bugs >&-", tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "chaos-results/report.html").exists()


def test_output_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    done = bare(f"points --target {LEDGER} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "error: [Errno 28] No space left on device" in done.stderr


@pytest.mark.parametrize("blocks", [20, 100], ids=["at once", "later"])
@pytest.mark.parametrize(
    "command",
    ["chaos run", f"pytest {QUICKLY} -p no:cacheprovider --chaos-no-bugs"],
    ids=["chaos", "pytest"],
)
def test_results_that_find_no_room_are_one_message(
    tmp_path: Path, command: str, blocks: int
) -> None:
    (tmp_path / "own.plan.yaml").write_text(PLAN.read_text())
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f {blocks}; {sys.executable} -m {command} own.plan.yaml"],
        cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode in {1, 2}
    assert "journal.sqlite" in said
    assert not {"Traceback", "INTERNALERROR"} & {*said.replace(":", " ").split()}


def environment() -> dict[str, str]:
    """That of this process, but for what pytest has put there."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}


def test_a_reader_who_has_seen_enough_causes_no_traceback(tmp_path: Path) -> None:
    done = bare(f"points --target {LEDGER} | head -1 > /dev/null", tmp_path)
    assert done.stderr == ""


def test_control_sequences_of_others_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    text = r"\x1b[31mred\x1b]0;title\x07\x9b2J\u202e :smile: [bold]b[/] c\\"
    (tmp_path / "system.py").write_text(f'def target():\n    raise ValueError("{text}")\n')
    done = chaos("points", "--target", "system.py", cwd=tmp_path, expect=2)
    assert "␛[31mred␛]0;title␇\\x9b2J\\u202e :smile: [bold]b[/] c\\" in done.stderr
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*done.stderr}


def test_lines_and_tabs_are_left_as_they_are() -> None:
    assert shown("a\tb\r\nc\n") == "a\tb\nc\n"


def test_brackets_of_others_are_no_markup() -> None:
    from rich.text import Text

    for text in ("[red]x[/]", "a\\", "\\[b]", "[/]", "[link=x]"):
        assert Text.from_markup(plain(text) + "[bold]![/]", emoji=False).plain == text + "!"


# ---------------------------------------------------------------------- what is missing


def test_without_the_extra_of_the_reference_it_is_said_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sqlalchemy.py").write_text("raise ImportError('No module named sqlalchemy')")
    done = bare("points --target reference", tmp_path, PYTHONPATH=f"{hidden}:{ROOT}")
    assert done.returncode == 2
    assert "pip install control-plane-chaos[reference]" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    shutil.rmtree(hidden)


# ---------------------------------------------------------------------- points that do not exist

BROKEN = """
from chaos.point import Point
from tests.ledger import ledger
from tests.ledger.ledger import money_is_kept

class Broken(ledger.Ledger):
    points = {**ledger.Ledger.points, "bogus": Point("tests.ledger.teller:nope", "teller")}

def target():
    return Broken()
"""


def test_a_point_that_does_not_exist_is_told_and_hurts_only_the_plans_that_use_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "system.py").write_text(BROKEN)
    good = PLAN.read_text().replace(LEDGER, "system.py")
    bad = good.replace("before transfer.credit", "before bogus").replace("plan: ", "plan: bad-", 1)
    (tmp_path / "plans.plan.yaml").write_text(f"{good}\n---\n{bad}")
    done = chaos("run", "plans.plan.yaml", "--no-bugs", cwd=tmp_path, expect=1)
    assert "✓ crash-between-debit-and-credit: PASS" in done.stderr
    assert "the target's point `bogus` does not exist: `tests.ledger.teller` has no" in done.stderr
    assert "✗ bad-crash-between-debit-and-credit: ERROR" in done.stderr
