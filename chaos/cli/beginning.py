"""`chaos init` and `chaos up`: begin with a system of one's own, and look around in one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from chaos.cli.options import DEFAULT_RESULTS, err, out, plain, target_option, tells_errors
from chaos.errors import ChaosError


@click.command(short_help="Write a target, a plan and an editor's schema to start from.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@tells_errors
def init(folder: Path) -> None:
    """Write what a system of your own starts from into FOLDER (default: this one).

    A commented target file, a small service that stands in for yours, a first plan and a JSON
    Schema for your editor. They run at once; nothing is overwritten.
    """
    from chaos.template import PLANS, SYSTEM, write

    for path in write(folder):
        out.print(f"  {path}", highlight=False, soft_wrap=True)
    command = f"chaos run {folder / PLANS} --target {folder / SYSTEM}"
    out.print(f"\n[bold]run it[/]\n  {plain(command)}", highlight=False, soft_wrap=True)


@click.command(short_help="Keep a target running, for a person or a tool, until ctrl-C.")
@target_option
@click.option("--bug", "bugs", multiple=True, metavar="SWITCH", help="With this bug switch on.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS / "up", show_default=True, help="Folder for journal.sqlite.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the run directory (logs, databases).")
@tells_errors
def up(target: str, bugs: Sequence[str], results: Path, keep: bool) -> None:
    """Start a target, tell how to get in, and keep it running until ctrl-C.

    Then, or when this command is killed, all of it ends and its files go.
    """
    from chaos.engine.session import Session
    from chaos.errors import nearest
    from chaos.journal.results import begin
    from chaos.language.catalogue import default_target

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with begin(results) as journal:
        session = Session(target or default_target(), journal, keep=keep)
        try:
            with session:
                started = session.words.target
                for bug in bugs:
                    if bug not in started.bugs:
                        hint = nearest(bug, started.bugs)
                        raise ChaosError(f"there is no bug switch `{bug}`; {hint}")
                if bugs:
                    started.reset(frozenset(bugs))
                invitation = started.invitation() or f"run directory  {session.run_dir}"
                out.print(plain(invitation), highlight=False, soft_wrap=True)
                out.print("[dim]ctrl-C ends it[/]", highlight=False)
                sys.stdout.flush()
                while True:
                    signal.pause()
        except KeyboardInterrupt:
            pass
        residues = journal.residues()
    if keep:
        err.print(f"run directory kept: {session.run_dir}", markup=False, soft_wrap=True)
    for found in residues:
        err.print(f"[bold red]left over:[/] {plain(found)}", soft_wrap=True, highlight=False)
    sys.exit(1 if residues else 0)
