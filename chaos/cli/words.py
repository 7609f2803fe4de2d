"""`chaos validate`, `schema` and `points`: the words of plans, and whether a plan uses them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from chaos.cli.options import (
    BAD,
    GOOD,
    TARGET_METAVAR,
    err,
    out,
    paths_argument,
    plain,
    target_option,
    tells_errors,
)
from chaos.errors import ChaosError

if TYPE_CHECKING:
    from chaos.language.loader import Source


@click.command(short_help="Check plans against a target's words; nothing is run.")
@paths_argument
@target_option
@tells_errors
def validate(paths: Sequence[Path], target: str) -> None:
    """Check plans against a target's vocabulary without running anything.

    A target of your own (a file, or MODULE:FUNCTION) must be given: a plan, which may come from
    anybody, cannot have its code executed.
    """
    from chaos.errors import PlanError
    from chaos.language.catalogue import default_target, is_own
    from chaos.language.loader import find, load, unique

    wrong = 0
    every: list[Source] = []
    for path in find(paths):
        try:
            found = load(path)
            every += found
            for source in found:
                name = target or source.target or default_target()
                if is_own(name) and not target:
                    line = source.document.line(("target",))
                    raise PlanError(
                        f"{path}:{line}: the plan names a target of its own, whose code is not"
                        f" executed to check a plan unless you say so: `--target {name}`"
                    )
                source.bind(source.words(name))
                told = f"{path}: {source.plan.title_of_case}"
                out.print(f"[green]{GOOD}[/] {plain(told)}", highlight=False, soft_wrap=True)
        except PlanError as error:
            wrong += 1
            err.print(f"[red]{BAD}[/] {plain(str(error))}", highlight=False, soft_wrap=True)
    unique(every)
    sys.exit(2 if wrong else 0)


@click.command(short_help="Print the JSON Schema of plan files, for editors.")
@click.option("--target", "-t", default="", metavar=TARGET_METAVAR, help="Include its vocabulary.")
@tells_errors
def schema(target: str) -> None:
    """Print the JSON Schema of plan files; with --target it knows that target's words.

    Editors complete and check plans that start with the comment
    `# yaml-language-server: $schema=plan.schema.json`.
    """
    import json

    from chaos.language.catalogue import vocabulary
    from chaos.language.schema import plan_schema

    click.echo(json.dumps(plan_schema(vocabulary(target) if target else None), indent=2))


@click.command(short_help="List points, operations, faults, invariants, services, bug switches.")
@target_option
@click.argument("word", default="")
@tells_errors
def points(target: str, word: str) -> None:
    """List the points of a target, and the other words that plans may use.

    WORD keeps only what contains it.
    """
    from chaos.errors import nearest
    from chaos.language.catalogue import default_target, vocabulary

    words = vocabulary(target or default_target())
    listed: list[str] = []
    sections: dict[str, dict[str, str]] = {
        "points": {
            alias: f"{plain(point.function)}  [dim]{plain(point.services)}[/]"
            f"  {plain(point.summary)}"
            for alias, point in words.target.points.items()
        },
        "operations": {
            f"{name}({', '.join(op.parameters)})": plain(op.summary)
            for name, op in words.target.operations.items()
        },
        "faults": {
            name: (model.__doc__ or "").partition("\n")[0] for name, model in words.faults.items()
        },
        "invariants": {name: plain(item.summary) for name, item in words.invariants.items()},
        "services": dict.fromkeys(words.target.services, ""),
        "bug switches": {name: plain(text) for name, text in words.target.bugs.items()},
    }
    for title, entries in sections.items():
        kept = {name: text for name, text in entries.items() if word in name}
        listed += kept
        if kept:
            table = Table(title=title, title_justify="left", box=None, show_header=False)
            for name, text in kept.items():
                table.add_row(f"[bold]{plain(name)}[/]", text)
            out.print(table)
    if not listed:
        every = [name.partition("(")[0] for entries in sections.values() for name in entries]
        hint = nearest(word, every)
        if not hint.startswith("did you mean"):
            hint = "`chaos points` lists them all"
        raise ChaosError(f"no word of this target contains `{word}`; {hint}")
