"""`chaos museum`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from chaos.cli.options import DEFAULT_RESULTS, target_option, tells_errors


@click.command(short_help="Show that every bug switch is caught, and by which plan.")
@click.argument("wanted", nargs=-1, metavar="[SWITCH]...")
@click.option(
    "--plans", "paths", multiple=True, type=click.Path(path_type=Path), metavar="PLAN|FOLDER",
    help="Only these plans; repeatable. Default: those that are installed.",
)  # fmt: skip
@target_option
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS / "museum", show_default=True, help="Folder for matrix and report.",
)  # fmt: skip
@click.option("--times", default=1, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--off", default=None, type=click.IntRange(0, 100_000), metavar="N",
    help="So often with all switches off; default: as --times.",
)  # fmt: skip
@click.option("-n", "--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--all", "every", is_flag=True, help="Each switch with every plan, not its own only.")
@tells_errors
def museum(
    wanted: Sequence[str],
    paths: Sequence[Path],
    target: str,
    results: Path,
    times: int,
    off: int | None,
    workers: int,
    every: bool,
) -> None:
    """Run each bug switch with the plans that name it, and these plans by themselves.

    Writes the kill matrix: which plan caught a bug, by which invariant, how often and after how
    many runs, and which plans stay green. Exit status 0 only if each switch has a plan of its own,
    each of these caught it every time, and none is red with all switches off.
    """
    from chaos.museum.command import museum as command

    off = times if off is None else off
    sys.exit(
        command(wanted, paths, target, results, times=times, off=off, workers=workers, every=every)
    )
