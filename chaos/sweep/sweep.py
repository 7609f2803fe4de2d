"""The sweep: a golden run of each workload, then a trial for every passage, on several workers."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from chaos.engine.session import as_yaml
from chaos.errors import ChaosError, PlanError, nearest
from chaos.journal import Journal
from chaos.journal.results import absorb_parts
from chaos.language.bind import bind
from chaos.language.catalogue import Vocabulary, vocabulary
from chaos.language.loader import find, load
from chaos.plan import Plan
from chaos.sweep import worker
from chaos.sweep.certificate import Certificate, Entry, Status
from chaos.sweep.passages import Passage
from chaos.sweep.trials import case_of, crashing, golden
from chaos.verdict import Verdict

PLANS = "plans"
"""Folder with a plan for each trial that somebody must look at."""


def workloads(wanted: Sequence[str], installed: Path | None) -> list[Plan]:
    """The plans that are swept: files and folders as they are, operations by the plans with them.

    ``installed`` are the plans among which an operation is looked for; without anything wanted all
    of them are swept. Plans that differ only in their faults are one workload.

    Raises:
        PlanError: no plan has such an operation.
    """
    files = [Path(one) for one in wanted if _is_path(one)]
    operations = [one for one in wanted if not _is_path(one)]
    plans = _plans(files) if files else []
    if operations or not wanted:
        if installed is None:
            raise PlanError(f"which plans? none are installed, and {operations} are no files")
        known = _plans([installed])
        used = {step.operation for plan in known for step in plan.operations()}
        for operation in operations:
            if operation not in used:
                hint = nearest(operation, used)
                raise PlanError(f"no plan does `{operation}` under faults; {hint}")
        plans += [
            plan
            for plan in known
            if not wanted or {step.operation for step in plan.operations()} & {*operations}
        ]
    return plans


def _is_path(word: str) -> bool:
    return "/" in word or word.endswith((".yaml", ".yml")) or Path(word).exists()


def _plans(paths: Sequence[Path]) -> list[Plan]:
    return [
        source.plan.model_copy(update={"target": source.target})
        for path in find(paths)
        for source in load(path)
    ]


def target_of(plans: Iterable[Plan]) -> str:
    """The one target that these plans name; '' when they name none.

    Raises:
        PlanError: they name several.
    """
    named = sorted({plan.target for plan in plans if plan.target})
    if len(named) > 1:
        raise PlanError(f"these plans are for several targets, {', '.join(named)}: say `--target`")
    return next(iter(named), "")


def _distinct(plans: Iterable[Plan]) -> Iterator[Plan]:
    """One of each that does the same; the second of a name gets a name of its own."""
    seen: set[str] = set()
    names: Counter[str] = Counter()
    for plan in plans:
        does = json.dumps([golden(plan).document().get(part) for part in ("given", "during")])
        if does not in seen:
            seen.add(does)
            names[plan.name] += 1
            again = f"-{names[plan.name]}" if names[plan.name] > 1 else ""
            yield plan.model_copy(update={"name": f"{plan.name}{again}"})


@dataclass(frozen=True, slots=True)
class _Task:
    """A trial that is under way: ``places`` is empty for a golden run."""

    plan: Plan
    places: tuple[Passage, ...] = ()


@dataclass(slots=True)
class Sweep:
    """Crashes every workload at each passage, at ``depth`` 2 also at each of its recovery.

    ``points`` is a shell pattern over the points that are crashed at. ``on_progress`` is called
    with how many trials there are so far, and with each entry.
    """

    target: str
    plans: Sequence[Plan]
    results: Path
    certificate: Certificate
    workers: int = 2
    depth: int = 1
    bug: str = ""
    points: str = "*"
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What the journals of the workers have in common with the one they come into."""
    on_progress: Callable[[int, Entry | None], None] = lambda total, entry: None
    _total: int = 0
    _todo: dict[Future[worker.Result], _Task] = field(default_factory=dict)

    def run(self, journal: Journal) -> None:
        """Run all of it; what the workers' journals have comes into ``journal`` in the end.

        Raises:
            PlanError: a workload uses words that the target does not have.
            ChaosError: a worker's target does not start, or a worker was killed.
        """
        words = vocabulary(self.target)
        swept = list(_distinct(self._switched(plan, words) for plan in self.plans))
        for plan in swept:
            bind(plan, words)
        pool = ProcessPoolExecutor(
            self.workers,
            get_context("spawn"),
            worker.start,
            (self.target, self.results, self.run_id, os.getpid()),
        )
        try:
            for plan in swept:
                if plan.during:
                    self._submit(pool, _Task(plan))
            while self._todo:
                done, _ = wait(self._todo, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(pool, self._todo.pop(future), future.result())
        except BrokenProcessPool:
            raise ChaosError(
                "a worker of the sweep was killed, by somebody or for want of memory; go on with "
                "`--resume`"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
            absorb_parts(journal, self.results, self.run_id)

    def _switched(self, plan: Plan, words: Vocabulary) -> Plan:
        # A plan names the invariants that see a bug; which of them will is to be found out.
        seen_by = plan.bugs.get(self.bug, tuple(words.invariants)[:1])
        operations = words.target.operations.items()
        looks = [name for name, one in operations if one.asserts]
        strikes = [name for name, one in operations if one.strikes]
        bugs = {self.bug: seen_by} if self.bug else {}
        return golden(plan, looks, strikes).model_copy(update={"bugs": bugs})

    def _submit(self, pool: ProcessPoolExecutor, task: _Task) -> None:
        again = len(task.places) < self.depth
        future = pool.submit(worker.attempt, task.plan, self.bug, task.places, again=again)
        self._todo[future] = task

    def _take(self, pool: ProcessPoolExecutor, task: _Task, result: worker.Result) -> None:
        if task.places:
            self._enter(task, result)
        elif result.verdict is not Verdict.PASS:
            reason = f"without faults it does not pass: {result.verdict}: {result.reason}"
            self.certificate.left_out[task.plan.name] = reason
        if len(task.places) < self.depth and result.verdict is Verdict.PASS:
            for place in result.passages:
                self._add(pool, _Task(task.plan, (*task.places, place)))

    def _add(self, pool: ProcessPoolExecutor, task: _Task) -> None:
        if not fnmatchcase(task.places[-1].point, self.points):
            return
        known = self.certificate.entries.get((task.plan.name, *map(str, task.places)))
        self._total += 1
        self.on_progress(self._total, None)
        # A passage whose own recovery is to be swept is run again: nobody knows what it passes.
        if known is not None and len(task.places) == self.depth:
            self.on_progress(self._total, known)
        else:
            self._submit(pool, task)

    def _enter(self, task: _Task, result: worker.Result) -> None:
        status = {Verdict.VACUOUS: Status.UNREACHABLE, Verdict.ERROR: Status.BROKEN}
        entry = Entry(
            task.plan.name,
            tuple(map(str, task.places)),
            status.get(result.verdict, Status.RUN),
            result.verdict,
            result.violated,
            "" if result.verdict is Verdict.PASS else result.reason,
            tries=result.tries,
        )
        if entry.is_red:
            entry = self._emitting(entry, task)
        self.certificate.add(entry)
        self.on_progress(self._total, entry)

    def _emitting(self, entry: Entry, task: _Task) -> Entry:
        """Write the plan of a trial to a file, ready to be run."""
        folder = self.results / PLANS
        folder.mkdir(parents=True, exist_ok=True)
        # What an earlier sweep has found, and whatever else is there, stays.
        names = (f"{task.plan.name}-{number}" for number in count(1))
        name = next(one for one in names if not (folder / f"{one}.plan.yaml").exists())
        path = folder / f"{name}.plan.yaml"
        plan = crashing(task.plan, task.places).model_copy(
            update={
                "name": name,
                "case": "",
                "title": case_of(task.places),
                "bugs": {self.bug: entry.violated} if self.bug else {},
                "target": str(Path(self.target).resolve())
                if self.target.endswith(".py")
                else self.target,
            }
        )
        path.write_text(as_yaml(json.dumps(plan.document())))
        return replace(entry, plan=str(path))
