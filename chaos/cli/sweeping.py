"""`chaos sweep`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from chaos.cli.options import DEFAULT_RESULTS, target_option, tells_errors


@click.command(short_help="Crash each service before and after everything that it does.")
@click.argument("wanted", nargs=-1, metavar="[OPERATION|PLAN|FOLDER]...")
@target_option
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS / "sweep", show_default=True, help="Folder for certificate and report.",
)  # fmt: skip
@click.option("-n", "--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--depth", default=1, show_default=True, type=click.IntRange(1, 2),
    help="2: crash again during the recovery from each crash.",
)  # fmt: skip
@click.option("--point", "points", default="*", metavar="PATTERN", help="Only at these points.")
@click.option("--bug", default="", metavar="SWITCH", help="With this bug switch on.")
@click.option("--resume", is_flag=True, help="Go on where the last sweep of this folder ended.")
@tells_errors
def sweep(
    wanted: Sequence[str],
    target: str,
    results: Path,
    workers: int,
    depth: int,
    points: str,
    bug: str,
    resume: bool,
) -> None:
    """Run a workload once without faults, then crash each service at each point that it passed.

    A workload is what a plan does (its `given` and `during`) without its faults: those of the plans
    named, or of the installed plans with an OPERATION, such as `server.reboot`; omitted: of all.
    After each crash everything is restarted, and must settle and hold every invariant. Exit status
    0 only if it does, everywhere; each place where it does not is written as a plan that runs it
    again. The certificate lists every place as run, or unreachable and why.
    """
    from chaos.sweep.command import sweep as command

    sys.exit(
        command(
            wanted, target, results, workers=workers, depth=depth, points=points, bug=bug,
            resume=resume,
        )
    )  # fmt: skip
