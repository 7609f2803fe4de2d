"""A session: one target, started once, on which trials run one after the other.

Owns everything that must be gone afterwards: the run directory, the controller, the reaper, the
target. What stays is the journal.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruamel.yaml import YAML

from chaos.engine.case import Case, shown
from chaos.engine.engine import Engine
from chaos.failpoints.controller import Controller
from chaos.history import Event, History, Kind
from chaos.journal import Journal, Round, ServiceLog, Trial
from chaos.language.catalogue import Vocabulary, make
from chaos.safety.owner import PREFIX
from chaos.safety.reaper import Reaper, reap_stale
from chaos.safety.residue import audit
from chaos.safety.undo import UndoLog
from chaos.target import Instrumentation
from chaos.verdict import Expectation, Outcome, Verdict

LOG_LINES = 40
"""How many lines of a service's log are kept on each side of a fault."""


@dataclass(slots=True)
class Session:
    """Use as a context manager; :meth:`run` runs one case.

    ``target`` is a name or a file (see :mod:`chaos.language.catalogue`). ``on_round`` is called
    with the number and the outcome of each round of a trial once it has ended, ``on_trial`` with
    each trial.
    """

    target: str
    journal: Journal
    on_round: Callable[[int, Outcome], None] = lambda number, outcome: None
    on_trial: Callable[[Trial], None] = lambda trial: None
    keep: bool = False
    """Leave the run directory (logs, databases) where it is, and say so in :attr:`run_dir`."""
    require: bool = False
    """Whether a case that the target cannot run is red."""
    run_dir: Path = field(init=False)
    label: str = field(init=False)
    words: Vocabulary = field(init=False)
    residue: tuple[str, ...] = ()
    _engine: Engine = field(init=False)
    _controller: Controller = field(init=False)
    _ending: ExitStack = field(default_factory=ExitStack)
    _clean: bool = False
    """Whether the audit has found nothing."""
    _trial: str = ""
    _told: set[str] = field(default_factory=set)
    """Points that do not exist, and were told."""
    _marks: dict[str, int] = field(default_factory=dict)
    _fault_marks: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.words = make(self.target)
        self.label = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def _open(self) -> None:
        ending = self._ending  # executed backwards, each whatever happens to the others
        reap_stale()
        self.run_dir = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{self.label}-"))
        ending.callback(self._remove_run_dir)
        reaper = Reaper(self.label, self.run_dir, remove_run_dir=not self.keep)
        ending.callback(self._dismiss, reaper)
        reaper.start()
        ending.callback(self._audit, reaper)
        self._controller = Controller(
            label=self.label,
            host=self.words.target.controller_host,
            request_id_reader=self.words.target.request_id_reader,
            on_hit=lambda hit: self._engine.on_hit(hit),
        )
        ending.callback(self._controller.close)
        self._engine = Engine(
            self.words.target, self._controller, UndoLog(self.run_dir),
            on_event=self._on_event, on_round=self._after_round,
        )  # fmt: skip
        ending.callback(self._stop)
        self.words.target.start(
            Instrumentation(
                self.label,
                self.run_dir,
                self._controller.environment,
                self._on_service,
                reaper.launch,
            ),
            frozenset(),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything, look for leftovers, remove the run directory; safe to call twice.

        What cannot be stopped is residue, and is left to the reaper, which undoes and kills it.
        """
        self._ending.close()

    def _stop(self) -> None:
        try:
            self.words.target.stop()
        except Exception as error:
            self._left(f"the target did not stop: {error}")

    def _audit(self, reaper: Reaper) -> None:
        if not reaper.is_alive:
            self._left("the reaper was killed: who cleared the label can have escaped")
        for found in audit(reaper.members, run_dir=self.run_dir):
            self._left(found)
        self._clean = not self.residue

    def _left(self, found: str) -> None:
        self.residue = (*self.residue, found)
        self.journal.residue(found)

    def _dismiss(self, reaper: Reaper) -> None:
        if not self._clean:
            reaper.reap()
        self._remove_run_dir()
        reaper.close()

    def _remove_run_dir(self) -> None:
        if not self.keep:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    # ------------------------------------------------------------------ trials

    def run(self, case: Case) -> Outcome:
        """Run one case and journal it.

        Raises:
            PlanError: the plan uses words that the target does not have.
        """
        bound = case.bind(self.words)
        trial = self._begin(case)
        self._trial = trial.id
        try:
            missing = case.skipped(self.words, bound)
            if missing:
                outcome = Outcome(Verdict.SKIPPED, missing, rounds=0)
            else:
                bugs = frozenset(filter(None, [case.bug]))
                outcome = self._engine.run(bound, bugs, case.strategy())
        except KeyboardInterrupt:
            self._end(case, trial, Outcome(Verdict.ERROR, "interrupted", rounds=0))
            raise
        finally:
            self._trial = ""
        self.on_trial(self._end(case, trial, outcome))
        return outcome

    def expected(self, case: Case) -> Expectation:
        """The verdict that a case should have on this target."""
        return case.expected(self.words)

    def _end(self, case: Case, trial: Trial, outcome: Outcome) -> Trial:
        failed = outcome.verdict is not Verdict.PASS
        ended = replace(
            trial,
            ended_ns=time.monotonic_ns(),
            rounds=outcome.rounds,
            verdict=outcome.verdict,
            reason=outcome.reason,
            violated=outcome.violated,
            reproduce=case.reproduce(self.target, outcome.schedule) if failed else trial.reproduce,
            note="; ".join(filter(None, (outcome.account, outcome.note, *self._missing_points()))),
        )
        self.journal.end(ended)
        return ended

    def armed(self) -> Mapping[str, tuple[str, ...]]:
        """Which functions are armed, by service, when nothing listens any more; none, of a trial.

        Between trials the points stay armed so that they tell when they are passed.
        """
        self._engine.stop_listening()
        return self._controller.armed()

    def _missing_points(self) -> Iterator[str]:
        """What is wrong with the target's points; each is told once, with the first trial."""
        for alias, wrong in self._engine.missing_points.items():
            if alias not in self._told:
                self._told.add(alias)
                yield f"the target's point `{alias}` does not exist: {wrong}"

    def _begin(self, case: Case) -> Trial:
        plan, expected = case.plan, self.expected(case)
        location = f"{shown(case.source.path)}:{case.source.line}" if case.source else ""
        trial = Trial(
            id=uuid.uuid4().hex[:12],
            plan=plan.name,
            title=plan.title,
            scenario=", ".join(plan.scenario),
            source=plan.source,
            bug=case.bug,
            target=self.target,
            document=as_yaml(json.dumps(plan.document())),
            location=location,
            reproduce=case.reproduce(self.target),
            started_unix=time.time(),
            started_ns=time.monotonic_ns(),
            ended_ns=None,
            rounds=0,
            verdict=None,
            expected=expected.verdict or "",
            expected_violations=expected.violations,
            reason="",
            case=plan.case,
            required=self.require,
        )
        self.journal.begin(trial)
        return trial

    # ------------------------------------------------------------------ what happens meanwhile

    def _on_service(self, service: str, event: str, facts: Mapping[str, Any]) -> None:
        self._engine.on_service(service, event, facts)

    def _on_event(self, number: int, event: Event) -> None:
        self.journal.event(self._trial, number, event)
        # A crash is told as a fault when it is over; its hit comes before it.
        strikes = event.kind is Kind.FAULT or event.data.get("action", "record") != "record"
        if strikes and not self._fault_marks:
            self._fault_marks = self._log_sizes()
        if event.kind is Kind.WORLD and event.name == "before":
            self._marks, self._fault_marks = self._log_sizes(), {}

    def _log_sizes(self) -> dict[str, int]:
        sizes = {}
        for name, service in self.words.target.services.items():
            with suppress(FileNotFoundError):  # it has not said anything yet
                sizes[name] = service.log.stat().st_size
        return sizes

    def _after_round(self, number: int, outcome: Outcome, history: History) -> None:
        ended = Round(number, str(outcome.schedule), outcome.verdict, outcome.reason)
        if self.journal.end_round(self._trial, ended):
            for log in self._logs(number):
                self.journal.log(self._trial, log)
        self.on_round(number, outcome)

    def _logs(self, number: int) -> list[ServiceLog]:
        logs = []
        for name, end in self._log_sizes().items():
            start = self._marks.get(name, 0)
            fault = self._fault_marks.get(name, end)
            if end > start:
                text = _slice(self.words.target.services[name].log, start, end)
                before = text[: fault - start].decode(errors="replace").splitlines()[-LOG_LINES:]
                after = _ends(text[fault - start :].decode(errors="replace").splitlines())
                logs.append(ServiceLog(number, name, "\n".join(before), "\n".join(after)))
        return logs


def _ends(lines: list[str]) -> list[str]:
    """The first lines after a fault, and the last ones, which tell why a service died."""
    if len(lines) <= 2 * LOG_LINES:
        return lines
    between = f"… {len(lines) - 2 * LOG_LINES} lines …"
    return [*lines[:LOG_LINES], between, *lines[-LOG_LINES:]]


def _slice(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


@functools.lru_cache(maxsize=16)  # a plan is executed many times, and this takes milliseconds
def as_yaml(document: str) -> str:
    """A plan's document, which is given as JSON, as YAML text."""
    text = StringIO()
    yaml = YAML(typ="rt")
    yaml.dump(json.loads(document), text)
    return text.getvalue()
