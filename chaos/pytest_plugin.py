"""The pytest plugin: ``*.plan.yaml`` files are tests, and tests can use the ``chaos`` fixture.

Loading this module must stay cheap: whoever runs pytest without a chaos test pays for it too.
Everything heavy is imported when the first chaos test is collected or run.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from chaos.engine.case import Case
    from chaos.engine.session import Session
    from chaos.journal import Journal, Trial
    from chaos.language.bind import BoundPlan
    from chaos.language.catalogue import Vocabulary
    from chaos.language.loader import Source
    from chaos.plan import Plan, Schedules
    from chaos.verdict import Expectation, Outcome

T = TypeVar("T")
SUFFIXES = (".plan.yaml", ".plan.yml")
KEPT, LOST, RUN = "chaos_kept", "chaos_lost", "chaos_run"
"""What the processes of pytest-xdist tell each other."""
_STATE = pytest.StashKey["ChaosState"]()


class Hooks:
    """The hooks that this plugin adds to those of pytest."""

    @pytest.hookspec
    def pytest_chaos_trial(self, item: pytest.Item, journal: Journal, trial: Trial) -> None:
        """Called while ``item`` runs, as soon as a trial of it has ended and is in the journal."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make our hooks known."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our options, in a group of their own."""
    group = parser.getgroup("chaos", "fault-injection chaos testing (chaos)")
    group.addoption(
        "--chaos-target",
        metavar="NAME|FILE.py",
        help="the system under test: a name, or a Python file that defines target()"
        " (default: the plan's own `target`, else ini option chaos_target,"
        " else the one that is installed)",
    )
    group.addoption(
        "--chaos-results",
        metavar="DIR",
        default="chaos-results",
        help="folder for journal.sqlite, report.html and junit.xml (default: %(default)s)",
    )
    group.addoption(
        "--chaos-no-bugs",
        action="store_true",
        help="collect plans only with all bug switches off",
    )
    group.addoption(
        "--chaos-bug",
        metavar="SWITCH",
        action="append",
        default=[],
        help="collect plans only with this bug switch on; repeatable",
    )
    group.addoption(
        "--chaos-schedule",
        metavar="'A B ...'",
        default="",
        help="execute only this schedule: the choices, as a report tells them",
    )
    group.addoption(
        "--chaos-schedules",
        metavar="WHICH",
        default="",
        help="other schedules than the plans say: all, a number, '{random: 100, seed: 7}'",
    )
    group.addoption(
        "--chaos-require",
        action="store_true",
        help="a case that the target cannot run fails, instead of being skipped",
    )
    group.addoption(
        "--chaos-keep",
        action="store_true",
        help="keep the run directory (logs, databases) and say where it is",
    )
    parser.addini("chaos_target", "the system under test; see --chaos-target", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is started yet."""
    config.addinivalue_line("markers", "chaos: a fault plan, or a test that injects faults")
    config.stash[_STATE] = ChaosState(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A ``*.plan.yaml`` file is a file of tests."""
    if file_path.name.endswith(SUFFIXES):
        collector: pytest.Collector = PlanFile.from_parent(parent, path=file_path)
        return collector
    return None


class PlanFile(pytest.File):
    """Collects every plan of a file: by itself, and with each of its bug switches on."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each case; every word of the plan is checked here."""
        state = self.config.stash[_STATE]
        state.begin()
        from chaos.engine.case import cases
        from chaos.errors import ChaosError
        from chaos.language.loader import load, unique

        try:
            for source in unique(load(self.path)):
                target = state.target_of(source)
                words = source.words(target)
                source.bind(words)
                state.accompany()
                wanted = self.config.getoption("chaos_bug")
                for bug in wanted:
                    state.refuse_unknown(bug, source.plan, words)  # it would select nothing
                chosen = cases(source, bugs=not self.config.getoption("chaos_no_bugs"))
                for case in chosen:
                    if not wanted or case.bug in wanted:
                        chosen_case = replace(case, schedules=state.schedules)
                        yield PlanItem.from_parent(
                            self, name=case.name, case=chosen_case, target=target, words=words
                        )
        except ChaosError as error:
            raise self.CollectError(str(error)) from None


class PlanItem(pytest.Item):
    """One plan with one set of bug switches: passes when the verdict is the expected one."""

    def __init__(self, *, case: Case, target: str, words: Vocabulary, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.target = target
        self.words = words
        self.add_marker("chaos")
        for family in _families(case.plan):
            _make_known(self.config, family)
            self.add_marker(family)

    def runtest(self) -> None:
        """Run the plan."""
        state = self.config.stash[_STATE]
        session = state.session(self.target, self)
        outcome = session.run(self.case)
        _raise_unless_expected(outcome, self.case, session.expected(self.case), state.requires)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A verdict is its own message; our frames would hide it."""
        from chaos.errors import ChaosError
        from chaos.terminal import shown

        if isinstance(excinfo.value, ChaosError):
            again = self.case.reproduce(self.target)
            kind = type(excinfo.value).__name__
            return shown(f"{kind}: {excinfo.value}" + (f"\nrun it again: {again}" if again else ""))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the plan starts."""
        line = self.case.source.line if self.case.source else 1
        return self.path, line - 1, self.name


def _families(plan: Plan) -> dict[str, None]:
    """What the rows of a plan are chosen by: ``-m s3``."""
    from chaos.language.rows import family

    named = map(family, plan.scenario)
    return dict.fromkeys(name for name in named if name.isidentifier())


def _make_known(config: pytest.Config, family: str) -> None:
    """Register a marker, once; pytest may refuse one that it was not told of."""
    line = f"{family}: plans for a row of this family"
    if line not in config.getini("markers"):
        config.addinivalue_line("markers", line)


def _raise_unless_expected(
    outcome: Outcome, case: Case, expected: Expectation, requires: bool
) -> None:
    from chaos.errors import Failed
    from chaos.verdict import Verdict

    if outcome.meets(expected):
        return
    if outcome.verdict is Verdict.SKIPPED and not requires:
        raise pytest.skip.Exception(outcome.reason, _use_item_location=True)
    if outcome.verdict is Verdict.PASS:
        switch = f"bug switch `{case.bug}` is on" if case.bug else "the target has the defect"
        raise Failed(f"{switch}, but nothing noticed: the verdict is PASS")
    if expected.verdict is Verdict.FAIL and outcome.verdict is Verdict.FAIL:
        missed = [n for n in expected.violations if n not in outcome.violated]
        which = f"`{case.bug}`" if case.bug else "the target's defect"
        raise Failed(f"{which} should violate {', '.join(missed)} too\n{outcome.reason}")
    outcome.raise_for_verdict()


def _without_our_frames(act: Callable[[], T]) -> T:
    """What ``act`` returns; our own errors are a message, and how we got there would hide it."""
    from chaos.errors import ChaosError

    __tracebackhide__ = True
    try:
        return act()
    except ChaosError as error:
        raise error.with_traceback(None) from None


class Chaos:
    """What the ``chaos`` fixture gives: run plans written in Python."""

    def __init__(self, state: ChaosState, target: str, test: pytest.Item) -> None:
        self._state = state
        self._test = test
        self.target = target

    def run(self, plan: Plan, *, bug: str = "", schedule: str = "") -> Outcome:
        """Run ``plan`` and return how it ended; raises nothing for a verdict.

        ``schedule`` is the only one that is executed, as a report tells it.

        Raises:
            PlanError: the plan uses words that the target does not have.
        """
        __tracebackhide__ = True
        return _without_our_frames(lambda: self._run(plan, bug, schedule))

    def check(self, plan: Plan, *, bug: str = "") -> Outcome:
        """Run ``plan`` and require PASS; with a bug switch, a FAIL that names the defect.

        Raises:
            VerdictError: the verdict is another one.
            PlanError: the plan uses words that the target does not have.
        """
        __tracebackhide__ = True
        return _without_our_frames(lambda: self._check(plan, bug))

    def _check(self, plan: Plan, bug: str) -> Outcome:
        case = self._case(plan, bug)
        session = self._state.session(self.target, self._test)
        outcome = session.run(case)
        _raise_unless_expected(outcome, case, session.expected(case), self._state.requires)
        return outcome

    def _run(self, plan: Plan, bug: str, schedule: str) -> Outcome:
        session = self._state.session(self.target, self._test)
        return session.run(self._case(plan, bug, schedule))

    def _case(self, plan: Plan, bug: str, schedule: str = "") -> Case:
        from chaos.engine.case import Case
        from chaos.plan import Schedules

        command = f"pytest {shlex.quote(self._test.nodeid)}"
        stated = Schedules.model_validate([schedule]) if schedule else self._state.schedules
        return Case(plan, bug, schedules=stated, command=command)

    def bind(self, plan: Plan) -> BoundPlan:
        """Check every word of a plan without running it."""
        from chaos.language.bind import bind
        from chaos.language.catalogue import vocabulary

        return bind(plan, vocabulary(self.target))


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Chaos:
    """Run fault plans against the target; it is started once and kept warm between tests."""
    state = request.config.stash[_STATE]
    state.begin()
    return Chaos(state, state.default_target, request.node)


class ChaosState:
    """What one pytest process (or xdist worker) has running; nothing until it is needed."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sessions: dict[str, Session] = {}
        told: dict[str, str] = getattr(config, "workerinput", {})
        self.worker = told.get("workerid", "")
        """``gw0`` in an xdist worker, else ''."""
        self.run = told.get(RUN) or uuid.uuid4().hex
        """What all processes of this run have in common."""
        self._journal: Journal | None = None
        self.residues: tuple[str, ...] = ()
        self.written: list[Path] = []
        self.kept: list[str] = []
        self.problems: list[str] = []
        """Why the results are not whole."""
        self._begun = False
        self._accompanied = False

    @property
    def used(self) -> bool:
        """Whether any chaos test ran, here or in a worker."""
        return self._journal is not None or (
            not self.worker and self.config.getoption("dist", "no") != "no"
        )

    @property
    def results(self) -> Path:
        """The folder for journal and reports."""
        return self.config.rootpath / str(self.config.getoption("chaos_results"))

    @property
    def schedules(self) -> Schedules | None:
        """The schedules that were asked for; None: what the plans say."""
        one = str(self.config.getoption("chaos_schedule"))
        which = str(self.config.getoption("chaos_schedules"))
        if not one and not which:
            return None
        from chaos.language.loader import schedules

        return schedules([one] if one else which, "--chaos-schedules")

    @property
    def requires(self) -> bool:
        """Whether a case that cannot run is red."""
        return bool(self.config.getoption("chaos_require"))

    @staticmethod
    def refuse_unknown(bug: str, plan: Plan, words: Vocabulary) -> None:
        """Do nothing when a bug switch that was asked for exists.

        Raises:
            PlanError: neither the plan nor its target knows it.
        """
        from chaos.errors import PlanError
        from chaos.language.expectation import skip_reason

        lacks = skip_reason(bug, words)
        if lacks and bug not in plan.bugs:
            raise PlanError(lacks)

    @property
    def default_target(self) -> str:
        """The target when a plan names none."""
        from chaos.language.catalogue import default_target

        chosen = self.config.getoption("chaos_target") or self._configured_target
        return str(chosen) if chosen else _without_our_frames(default_target)

    @property
    def _configured_target(self) -> str:
        """The ini option; a file is looked for beside the ini file, wherever pytest is run."""
        target = str(self.config.getini("chaos_target"))
        if self.config.inipath is not None:
            beside = self.config.inipath.parent / target
            if target.endswith(".py") and beside.is_file():
                return _shown(beside)
        return target

    def target_of(self, source: Source) -> str:
        """The target of a plan: the option wins, then the plan's own, then the ini option."""
        if self.config.getoption("chaos_target"):
            return self.default_target
        return source.target or self.default_target

    def begin(self) -> None:
        """Make ready for chaos tests: called where the first one is met, and later ones.

        Raises:
            pytest.UsageError: a package of the user's own hides one of ours.
        """
        if not self._begun:
            from chaos.language.catalogue import shadowing
            from chaos.safety import procfs

            hidden = shadowing()
            if hidden:
                raise pytest.UsageError(hidden)
            if self.worker:  # it would notice its controller's death, but only seconds later
                procfs.die_with_parent()
            self._begun = True

    def accompany(self) -> None:
        """Let the hooks that accompany chaos tests into pytest.

        Only once a target is loaded: what stands beside it must not be hidden by ours.
        """
        if not self._accompanied:
            from chaos.language.catalogue import pytest_plugins

            for name, plugin in pytest_plugins().items():
                self.config.pluginmanager.register(plugin, f"chaos-{name}")
            self._accompanied = True

    def session(self, target: str, item: pytest.Item) -> Session:
        """The running session of a target, for ``item``; only one runs at a time in a process."""
        from chaos.engine.session import Session

        running = self.sessions.get(target)
        if running is None:
            self.close_sessions()
            running = Session(
                target, self.journal,
                keep=bool(self.config.getoption("chaos_keep")), require=self.requires,
            )  # fmt: skip
            running.__enter__()
            self.sessions[target] = running
        self.accompany()
        tell = self.config.hook.pytest_chaos_trial
        running.on_trial = lambda trial: tell(item=item, journal=self.journal, trial=trial)
        return running

    @property
    def journal(self) -> Journal:
        """The journal of this process; opened at the first use."""
        from chaos.journal import results

        if self._journal is None:
            self._journal = results.begin(self.results, self.worker, self.run)
        return self._journal

    def close_sessions(self) -> None:
        """Stop every target."""
        for session in self.sessions.values():
            session.close()
            if session.keep:
                self.kept.append(str(session.run_dir))
        self.sessions.clear()

    def finish(self, *, interrupted: bool) -> None:
        """Stop everything and, where the run ends, write the reports."""
        self.close_sessions()
        if self.worker:
            output: dict[str, Any] = self.config.workeroutput  # type: ignore[attr-defined]
            with self.journal as journal:
                output[LOST] = journal.is_lost
            output[KEPT] = self.kept
            return
        from chaos.journal import results

        if self._journal is None and not results.parts(self.results, self.run):
            return
        with self.journal as journal:
            results.absorb_parts(journal, self.results, self.run)
            if interrupted:
                journal.residue("interrupted: what was not run by then is missing")
            try:
                self.written = results.finish(journal, self.results)
            finally:
                self.residues = journal.residues()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the targets, write the reports, and be red when something was left behind."""
    state = session.config.stash[_STATE]
    if state.used:
        import sqlite3

        from chaos.errors import ChaosError

        try:
            state.finish(interrupted=session.exitstatus == pytest.ExitCode.INTERRUPTED)
        except (ChaosError, OSError, sqlite3.Error) as error:
            state.problems.append(str(error))
    if (state.residues or state.problems) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it is part of."""
    node.workerinput[RUN] = node.config.stash[_STATE].run


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from an xdist worker that ends which run directories it kept, and what it lost."""
    state = node.config.stash[_STATE]
    told = getattr(node, "workeroutput", {})
    state.kept += told.get(KEPT, [])
    if told.get(LOST):
        where = _shown(state.results)
        state.problems.append(f"the results folder {where} was deleted or replaced during the run")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say where the results are, and what was left behind."""
    state = config.stash[_STATE]
    if state.written or state.residues or state.problems:
        from chaos.terminal import shown

        terminalreporter.section("chaos")
        for problem in dict.fromkeys(state.problems):
            terminalreporter.write_line(shown(f"error: {problem}"), red=True)
        for found in state.residues:
            terminalreporter.write_line(shown(f"left behind: {found}"), red=True)
        for run_dir in state.kept:
            terminalreporter.write_line(f"run directory kept: {run_dir}")
        if state.written:
            terminalreporter.write_line("results: " + " ".join(map(_shown, state.written)))


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
