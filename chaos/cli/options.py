"""What the commands have in common: options, the two consoles, and how errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from chaos import terminal
from chaos.errors import ChaosError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_RESULTS = Path("chaos-results")

terminal.make_usable()
out = terminal.console()
err = terminal.console(stderr=True)
GOOD, BAD, _ = terminal.marks()
plain = terminal.plain


def tells_errors(command: F) -> F:
    """Our own errors are messages for a person, not tracebacks."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ChaosError as error:
            err.print(f"[bold red]error:[/] {plain(str(error))}", soft_wrap=True, highlight=False)
            sys.exit(2)
        except OSError as error:
            terminal.give_up_output()
            err.print(f"[bold red]error:[/] {plain(str(error))}", soft_wrap=True, highlight=False)
            sys.exit(2)

    return wrapped  # type: ignore[return-value]


TARGET_METAVAR = "NAME|FILE.py|MODULE:FUNCTION"
target_option = click.option(
    "--target",
    "-t",
    default="",
    metavar=TARGET_METAVAR,
    help="The system under test; default: the plan's own, else the one that is installed. "
    "A file must define target().",
)
results_option = click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS,
    show_default=True,
    help="Folder for journal.sqlite, report.html and junit.xml.",
)
paths_argument = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PLAN|FOLDER..."
)
