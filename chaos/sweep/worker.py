"""A worker of a sweep: a process with a target of its own, on which trials run one by one."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from multiprocessing import current_process
from multiprocessing.util import Finalize
from pathlib import Path

from chaos.engine.case import Case
from chaos.engine.session import Session
from chaos.journal import Journal, Trial
from chaos.journal.results import begin
from chaos.plan import Phase, Plan
from chaos.safety import procfs
from chaos.sweep.passages import Passage, passages
from chaos.sweep.trials import crashing, golden
from chaos.verdict import Verdict

TRIES = 3
"""So often a trial is made whose passage is not reached: not everything happens in every run."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one trial; ``passages`` are those of its last phase."""

    verdict: Verdict
    reason: str
    violated: tuple[str, ...]
    passages: tuple[Passage, ...]
    tries: int


@dataclass(frozen=True, slots=True)
class _Open:
    """What one worker has open."""

    session: Session
    journal: Journal
    ended: list[Trial]


_open: _Open | None = None
_failure: Exception | None = None
"""Why there is no session."""


def start(target: str, results: Path, run: str, parent: int) -> None:
    """Start the worker's own target; it is stopped when the process ends in any way."""
    global _open, _failure
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep itself says when it is over
    procfs.die_with_parent()  # and the reaper of the session sees that
    if os.getppid() != parent:  # it has died before
        os._exit(1)
    try:
        journal = begin(results, part=current_process().name.replace(":", "-"), run=run)
        ended: list[Trial] = []
        session = Session(target, journal, on_trial=ended.append)
        session.__enter__()
    except Exception as error:  # whoever wants a trial is told
        _failure = error
        return
    _open = _Open(session, journal, ended)
    Finalize(None, _stop, exitpriority=100)


def _stop() -> None:
    assert _open is not None
    try:
        _open.session.close()
    finally:
        _open.journal.close()


def attempt(plan: Plan, bug: str, places: tuple[Passage, ...], *, again: bool) -> Result:
    """Run a workload with a crash at each of these places; without any, to see what it does.

    ``again``: what it passes in its last phase is wanted, to crash there too.
    """
    if _failure is not None:
        raise _failure
    assert _open is not None
    tried = crashing(plan, places) if places else golden(plan)
    tries, outcome = 1, _open.session.run(Case(tried, bug))
    while outcome.verdict is Verdict.VACUOUS and tries < TRIES:
        tries, outcome = tries + 1, _open.session.run(Case(tried, bug))
    found: list[Passage] = []
    if again or not places:
        events = _open.journal.events(_open.ended[-1].id, 1)
        found = passages(events, Phase.RECOVER if places else Phase.DURING)
    _open.ended.clear()
    return Result(outcome.verdict, outcome.reason, outcome.violated, tuple(found), tries)


def run(case: Case) -> None:
    """Run a case; what comes of it is in the worker's journal."""
    if _failure is not None:
        raise _failure
    assert _open is not None
    _open.session.run(case)
    _open.ended.clear()
