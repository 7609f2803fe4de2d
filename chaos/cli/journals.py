"""`chaos report` and `chaos replay`: what a journal has, told or run again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chaos.cli.options import DEFAULT_RESULTS, out, plain, tells_errors
from chaos.cli.running import run_cases, schedules_of
from chaos.errors import ChaosError


def _journal(path: Path) -> Path:
    """The journal at a path, which may be that of a results folder."""
    return path / "journal.sqlite" if path.is_dir() else path


@click.command(short_help="Render a journal again, also one that a killed run left.")
@click.argument(
    "journal", type=click.Path(path_type=Path), default=DEFAULT_RESULTS / "journal.sqlite"
)
@click.option("--format", "kind", default="html", show_default=True, help="html, junit, markdown")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: beside the journal")
@tells_errors
def report(journal: Path, kind: str, output: Path | None) -> None:
    """Render a journal again, for example one that a killed run left."""
    from chaos.journal import Journal
    from chaos.journal.results import FILES
    from chaos.language import catalogue

    render = catalogue.report(kind)
    journal = _journal(journal)
    path = output or journal.parent / FILES.get(kind, f"report.{kind}")
    with Journal(journal, readonly=True) as opened:
        render(opened, path)
    out.print(plain(str(path)), highlight=False, soft_wrap=True)


@click.command()
@click.argument("trial")
@click.option(
    "--journal", type=click.Path(path_type=Path), default=DEFAULT_RESULTS / "journal.sqlite",
    show_default=True,
)  # fmt: skip
@click.option("--emit", is_flag=True, help="Print the plan as YAML instead of running it.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS / "replay", show_default=True, help="Folder for the new results.",
)  # fmt: skip
@tells_errors
def replay(trial: str, journal: Path, emit: bool, results: Path) -> None:
    """Run one trial of a journal again, by its id (or how it starts).

    A race that failed is run again in the very order in which it failed.
    """
    from chaos.engine.case import Case
    from chaos.journal import Journal
    from chaos.language.loader import parse
    from chaos.summary import TOLD

    with Journal(_journal(journal), readonly=True) as opened:
        found = [t for t in opened.trials() if t.id.startswith(trial)]
        if len(found) != 1:
            every = [f"{t.id} ({t.title_of_case})" for t in opened.trials()]
            known = ", ".join(every[:TOLD]) + (", …" if len(every) > TOLD else "")
            raise ChaosError(f"{len(found)} trials are called `{trial}`; there are: {known}")
        chosen = found[0]
        rounds = opened.rounds(chosen.id)
    if emit:
        click.echo(chosen.document, nl=False)
        return
    source = parse(chosen.document, Path(chosen.location.rpartition(":")[0] or "replay.plan.yaml"))
    failed = rounds[-1].schedule if rounds and rounds[-1].verdict != "PASS" else ""
    case = Case(source.plan, chosen.bug, source, schedules_of(failed, ""))
    sys.exit(run_cases([case], _found_again(chosen.target, journal), results))


def _found_again(target: str, journal: Path) -> str:
    """A target's file as it is called here: it was named from where the journal was written."""
    if not target.endswith(".py") or Path(target).exists():
        return target
    above = (folder / target for folder in journal.resolve().parents)
    return str(next(filter(Path.is_file, above), target))
