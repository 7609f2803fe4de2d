"""The command line: init, run, up, sweep, validate, schema, points, report, replay."""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.table import Table

from chaos import terminal
from chaos.errors import ChaosError

if TYPE_CHECKING:
    from chaos.engine.case import Case
    from chaos.journal import Trial
    from chaos.language.loader import Source
    from chaos.plan import Schedules

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_RESULTS = Path("chaos-results")
INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a run that was interrupted, as of any command."""

terminal.make_usable()
out = terminal.console()
err = terminal.console(stderr=True)
GOOD, BAD, _ = terminal.marks()
_plain = terminal.plain


def _tells_errors(command: F) -> F:
    """Our own errors are messages for a person, not tracebacks."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ChaosError as error:
            err.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True, highlight=False)
            sys.exit(2)
        except OSError as error:
            terminal.give_up_output()
            err.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True, highlight=False)
            sys.exit(2)

    return wrapped  # type: ignore[return-value]


TARGET_METAVAR = "NAME|FILE.py|MODULE:FUNCTION"
_target = click.option(
    "--target",
    "-t",
    default="",
    metavar=TARGET_METAVAR,
    help="The system under test; default: the plan's own, else the one that is installed. "
    "A file must define target().",
)
_results = click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS,
    show_default=True,
    help="Folder for journal.sqlite, report.html and junit.xml.",
)
_paths = click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PLAN|FOLDER..."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="control-plane-chaos")
def main() -> None:
    """Fault-injection chaos testing for control planes.

    A plan injects a fault at a named point of the control plane's own execution, and says what
    must hold once it has recovered. Start with:

    \b
      chaos init                  begin with a system of your own, which runs at once
      chaos run                   run the plans that are installed, write a report
      chaos sweep server.reboot   crash each service before and after everything that it does
      chaos up                    keep a target running, to look around
      chaos points                the points where a fault can strike
      chaos validate my.plan.yaml check a plan without running it
    """
    faulthandler.enable()  # where a target of the user's own ends the process, it is told where


@main.command(short_help="Write a target, a plan and an editor's schema to start from.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@_tells_errors
def init(folder: Path) -> None:
    """Write what a system of your own starts from into FOLDER (default: this one).

    A commented target file, a small service that stands in for yours, a first plan and a JSON
    Schema for your editor. They run at once; nothing is overwritten.
    """
    from chaos.template import PLANS, SYSTEM, write

    for path in write(folder):
        out.print(f"  {path}", highlight=False, soft_wrap=True)
    command = f"chaos run {folder / PLANS} --target {folder / SYSTEM}"
    out.print(f"\n[bold]run it[/]\n  {_plain(command)}", highlight=False, soft_wrap=True)


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PLAN|FOLDER]...")
@_target
@_results
@click.option("--plan", "only", multiple=True, metavar="NAME", help="Only this plan; repeatable.")
@click.option(
    "--bug", "bugs", multiple=True, metavar="SWITCH",
    help="Only with this bug switch on; repeatable. Default: off, then each switch of the plan.",
)  # fmt: skip
@click.option("--no-bugs", is_flag=True, help="Only with all bug switches off.")
@click.option(
    "--case", "only_cases", multiple=True, metavar="NAME", help="Only this case of a matrix."
)
@click.option(
    "--schedule", default="", metavar="'A B ...'",
    help="Only this schedule: the choices, as a report tells them.",
)  # fmt: skip
@click.option(
    "--schedules", default="", metavar="WHICH",
    help="Other schedules than the plan says: all, a number, '{random: 100, seed: 7}', "
    "'{pct: 100}', '{every: 500}'.",
)  # fmt: skip
@click.option(
    "--sample", default=0, metavar="N",
    help="Beside the schedules that make a difference, run N random ones as a check.",
)  # fmt: skip
@click.option("--require", is_flag=True, help="A case that the target cannot run is red.")
@click.option("--keep", is_flag=True, help="Keep the run directory (logs, databases).")
@_tells_errors
def run(
    paths: Sequence[Path],
    target: str,
    results: Path,
    only: Sequence[str],
    bugs: Sequence[str],
    no_bugs: bool,
    only_cases: Sequence[str],
    schedule: str,
    schedules: str,
    sample: int,
    require: bool,
    keep: bool,
) -> None:
    """Run plans and write journal, HTML report and JUnit file.

    Each plan runs with all bug switches off, which must PASS, and with each of its bug switches
    on, which must FAIL and name the defect. Exit status 0 only if every verdict is as expected.
    Without PLAN or FOLDER, runs all plans that are installed for the target.
    """
    from chaos.engine.case import cases, check_switches
    from chaos.errors import nearest
    from chaos.language.catalogue import default_target, suites
    from chaos.language.loader import find, load, unique

    sources = unique(
        source
        for path in find(paths or [suites(target or default_target())])
        for source in load(path)
    )
    names = {source.plan.name for source in sources}
    for name in only:
        if name not in names:
            raise ChaosError(f"there is no plan `{name}` in these files; {nearest(name, names)}")
    chosen = [source for source in sources if not only or source.plan.name in only]
    known_cases = {source.plan.case for source in chosen if source.plan.case}
    for name in only_cases:
        if name not in known_cases:
            raise ChaosError(f"there is no case `{name}` of a matrix; {nearest(name, known_cases)}")
    every = [
        case
        for source in chosen
        if not only_cases or source.plan.case in only_cases
        for case in cases(source, bugs=not no_bugs)
    ]
    check_switches(bugs, every)
    wanted = _schedules(schedule, schedules)
    todo = [
        replace(case, schedules=wanted, sample=sample)
        for case in every
        if not bugs or case.bug in bugs
    ]
    sys.exit(_run(todo, target, results, keep=keep, require=require))


@main.command(short_help="Keep a target running, for a person or a tool, until ctrl-C.")
@_target
@click.option("--bug", "bugs", multiple=True, metavar="SWITCH", help="With this bug switch on.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RESULTS / "up", show_default=True, help="Folder for journal.sqlite.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the run directory (logs, databases).")
@_tells_errors
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
                out.print(_plain(invitation), highlight=False, soft_wrap=True)
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
        err.print(f"[bold red]left over:[/] {_plain(found)}", soft_wrap=True, highlight=False)
    sys.exit(1 if residues else 0)


def _schedules(schedule: str, which: str) -> Schedules | None:
    """What was asked for on the command line; None: what the plan says."""
    from chaos.language.loader import schedules

    if schedule and which:
        raise ChaosError("give either --schedule or --schedules")
    return (
        schedules([schedule] if schedule else which, "--schedules") if schedule or which else None
    )


def _by_target(todo: Iterable[Case], target: str) -> dict[str, list[Case]]:
    """The cases of each target, after every word of every plan was checked."""
    from chaos.language.catalogue import default_target, vocabulary

    grouped: dict[str, list[Case]] = {}
    for case in todo:
        name = target or case.target or default_target()
        case.bind(case.source.words(name) if case.source else vocabulary(name))
        grouped.setdefault(name, []).append(case)
    return grouped


def _run(
    todo: Sequence[Case],
    target: str,
    results: Path,
    *,
    keep: bool = False,
    require: bool = False,
) -> int:
    """Run cases with progress, write the reports, print the table; the exit status."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from chaos.engine.session import Session
    from chaos.journal.results import begin, finish
    from chaos.summary import line, tell

    grouped = _by_target(todo, target)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ran is to be told all the same
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"), TimeElapsedColumn(), console=err, transient=True,
    )  # fmt: skip

    def told(trial: Trial) -> None:
        progress.advance(task)
        progress.console.print(line(trial), highlight=False, soft_wrap=True)

    def run_all() -> None:
        for name, group in grouped.items():
            progress.update(task, description=f"starting {name}")
            session = Session(
                name,
                journal,
                on_round=lambda number, _: progress.update(
                    task, detail=f"round {number}" if number > 1 else ""
                ),
                on_trial=told,
                keep=keep,
                require=require,
            )
            with session:
                for case in group:
                    progress.update(task, description=case.name, detail="")
                    session.run(case)
                progress.update(task, description=f"stopping {name}", detail="")
            if keep:
                err.print(f"run directory kept: {session.run_dir}", markup=False, soft_wrap=True)

    task = progress.add_task("", total=len(todo), detail="")
    interrupted = False
    with begin(results) as journal:
        try:
            with progress:
                run_all()
        except KeyboardInterrupt:
            interrupted = True
            ran = progress.tasks[task].completed
            journal.residue(f"interrupted: {ran:.0f} of {len(todo)} cases were run to their end")
        written = finish(journal, results)
        trials = journal.trials()
        residues = journal.residues()
    tell(out, trials, residues, written)
    red = any(trial.unexpected for trial in trials)
    if interrupted:
        return INTERRUPTED
    return 1 if red or residues else 0


@main.command(short_help="Check plans against a target's words; nothing is run.")
@_paths
@_target
@_tells_errors
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
                out.print(f"[green]{GOOD}[/] {_plain(told)}", highlight=False, soft_wrap=True)
        except PlanError as error:
            wrong += 1
            err.print(f"[red]{BAD}[/] {_plain(str(error))}", highlight=False, soft_wrap=True)
    unique(every)
    sys.exit(2 if wrong else 0)


@main.command(short_help="Print the JSON Schema of plan files, for editors.")
@click.option("--target", "-t", default="", metavar=TARGET_METAVAR, help="Include its vocabulary.")
@_tells_errors
def schema(target: str) -> None:
    """Print the JSON Schema of plan files; with --target it knows that target's words.

    Editors complete and check plans that start with the comment
    `# yaml-language-server: $schema=plan.schema.json`.
    """
    import json

    from chaos.language.catalogue import vocabulary
    from chaos.language.schema import plan_schema

    click.echo(json.dumps(plan_schema(vocabulary(target) if target else None), indent=2))


@main.command(short_help="List points, operations, faults, invariants, services, bug switches.")
@_target
@click.argument("word", default="")
@_tells_errors
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
            alias: f"{_plain(point.function)}  [dim]{_plain(point.services)}[/]"
            f"  {_plain(point.summary)}"
            for alias, point in words.target.points.items()
        },
        "operations": {
            f"{name}({', '.join(op.parameters)})": _plain(op.summary)
            for name, op in words.target.operations.items()
        },
        "faults": {
            name: (model.__doc__ or "").partition("\n")[0] for name, model in words.faults.items()
        },
        "invariants": {name: _plain(item.summary) for name, item in words.invariants.items()},
        "services": dict.fromkeys(words.target.services, ""),
        "bug switches": {name: _plain(text) for name, text in words.target.bugs.items()},
    }
    for title, entries in sections.items():
        kept = {name: text for name, text in entries.items() if word in name}
        listed += kept
        if kept:
            table = Table(title=title, title_justify="left", box=None, show_header=False)
            for name, text in kept.items():
                table.add_row(f"[bold]{_plain(name)}[/]", text)
            out.print(table)
    if not listed:
        every = [name.partition("(")[0] for entries in sections.values() for name in entries]
        hint = nearest(word, every)
        if not hint.startswith("did you mean"):
            hint = "`chaos points` lists them all"
        raise ChaosError(f"no word of this target contains `{word}`; {hint}")


@main.command(short_help="Crash each service before and after everything that it does.")
@click.argument("wanted", nargs=-1, metavar="[OPERATION|PLAN|FOLDER]...")
@_target
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
@_tells_errors
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


def _journal(path: Path) -> Path:
    """The journal at a path, which may be that of a results folder."""
    return path / "journal.sqlite" if path.is_dir() else path


@main.command(short_help="Render a journal again, also one that a killed run left.")
@click.argument(
    "journal", type=click.Path(path_type=Path), default=DEFAULT_RESULTS / "journal.sqlite"
)
@click.option("--format", "kind", default="html", show_default=True, help="html, junit, markdown")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: beside the journal")
@_tells_errors
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
    out.print(_plain(str(path)), highlight=False, soft_wrap=True)


@main.command()
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
@_tells_errors
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
    case = Case(source.plan, chosen.bug, source, _schedules(failed, ""))
    sys.exit(_run([case], _found_again(chosen.target, journal), results))


def _found_again(target: str, journal: Path) -> str:
    """A target's file as it is called here: it was named from where the journal was written."""
    if not target.endswith(".py") or Path(target).exists():
        return target
    above = (folder / target for folder in journal.resolve().parents)
    return str(next(filter(Path.is_file, above), target))
