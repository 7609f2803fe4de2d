"""Allure: what allure-pytest writes of a chaos test, with all that the journal has of its trial.

Loaded by the pytest plugin; it does nothing in a run without ``--alluredir``.

A plan is one test case of Allure's, and each of its bug switches (and cases of a matrix, and
targets) is a parameter: runs that differ in one have histories of their own. A test written in
Python keeps its own name, and each trial that it runs is a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import allure
import pytest
from allure_commons.model2 import ExecutableItem, Status, StatusDetails, TestStepResult
from allure_pytest.listener import AllureListener

from chaos.engine.case import Case
from chaos.history import Event, Kind
from chaos.journal import Journal, Trial
from chaos.pytest_plugin import PlanItem
from reports.html import page, round_to_show
from reports.link import links
from reports.sentence import sentence
from reports.summary import Summary, expectation, reason, verdict
from reports.text import first_line, printable

LISTENER = "allure_listener"
"""The name under which allure-pytest registers what collects results."""
TOLD = (Kind.FAULT, Kind.VIOLATION)
"""Beside the operations, what of a phase is a step."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Name a plan's test before it runs: it may come to no trial."""
    if _listener(item) is None or not isinstance(item, PlanItem):
        return
    plan = item.case.plan
    allure.dynamic.title(_title(item.case))
    allure.dynamic.parameter("target", item.words.target.name)
    allure.dynamic.parameter("bug switch", item.case.bug or "off")
    if plan.case:
        allure.dynamic.parameter("case", plan.case)
    if plan.scenario:
        allure.dynamic.feature(*plan.scenario)
    for words, address in links(plan.source):
        allure.dynamic.link(address, name=words)


def pytest_chaos_trial(item: pytest.Item, journal: Journal, trial: Trial) -> None:
    """Put a trial into the result of the test that runs it."""
    listener = _listener(item)
    if listener is None:
        return
    if isinstance(item, PlanItem):
        allure.dynamic.description(printable("\n\n".join(_facts(trial))))
        _fill(listener, journal, trial)
    else:
        bug = f" [{trial.bug}]" if trial.bug else ""
        with allure.step(printable(f"{trial.title_of_case}{bug}: {verdict(trial)}")):
            _fill(listener, journal, trial)


def _listener(item: pytest.Item) -> AllureListener | None:
    found: AllureListener | None = item.config.pluginmanager.get_plugin(LISTENER)
    return found


def _title(case: Case) -> str:
    """``compute dies while … [before bdm.destroy] [lp1072751]``."""
    plan = case.plan
    which = "".join(f" [{each}]" for each in (plan.case, case.bug) if each)
    return printable(f"{plan.title or plan.name}{which}")


def _facts(trial: Trial) -> Iterator[str]:
    yield f"**{trial.plan}**: {verdict(trial)}, expected {expectation(trial)}"
    yield reason(trial)
    if trial.note:
        yield trial.note
    if trial.reproduce:
        yield f"Run it again: `{trial.reproduce}`"


def _fill(listener: AllureListener, journal: Journal, trial: Trial) -> None:
    """Steps and attachments, for the test or the step that is open."""
    rounds = journal.rounds(trial.id)
    shown = round_to_show(journal, trial, rounds)
    number = shown.number if shown else trial.rounds + 1
    result = listener.allure_logger.get_last_item(ExecutableItem)
    result.steps.extend(_phases(journal.events(trial.id, number), trial))
    kinds = allure.attachment_type
    timeline = "".join(page(journal, Summary((trial,), ())))
    allure.attach(timeline, "timeline", kinds.HTML, "html")
    allure.attach(printable(trial.document), "plan", kinds.YAML, "yaml")
    for log in journal.logs(trial.id, number):
        text = f"{log.before_fault}\n--- from the fault on ---\n{log.after_fault}\n"
        allure.attach(printable(text), f"log of {log.service}", kinds.TEXT, "txt")


def _phases(events: Sequence[Event], trial: Trial) -> Iterator[TestStepResult]:
    """Each phase of a round as a step, and in it what was done, what struck and what was found."""
    begins = [number for number, event in enumerate(events) if _is_phase(event)]
    for begin, end in zip(begins, [*begins[1:], len(events)], strict=True):
        phase, within = events[begin], events[begin + 1 : end]
        steps = [*_operations(within, trial), *_told(within, trial)]
        steps.sort(key=lambda step: step.start)
        worst = [s for s in (Status.FAILED, Status.BROKEN) if any(t.status == s for t in steps)]
        yield _step(
            sentence(phase),
            trial,
            phase.at_ns,
            within[-1].at_ns if within else phase.at_ns,
            worst[0] if worst else Status.PASSED,
            steps,
        )


def _is_phase(event: Event) -> bool:
    return event.kind is Kind.STEP and event.data.get("text") == event.name


def _operations(events: Sequence[Event], trial: Trial) -> Iterator[TestStepResult]:
    """The client's operations, from invocation to outcome."""
    statuses = {Kind.OK: Status.PASSED, Kind.FAIL: Status.FAILED, Kind.INDETERMINATE: Status.BROKEN}
    ended = {event.data["operation"]: event for event in events if event.kind in statuses}
    for event in events:
        if event.kind is Kind.INVOKE:
            end = ended.get(event.data["operation"])
            status = statuses[end.kind] if end else Status.BROKEN
            end_ns = end.at_ns if end else events[-1].at_ns
            actor = f"{event.actor}: " if event.actor not in ("", event.name) else ""
            step = _step(actor + sentence(event), trial, event.at_ns, end_ns, status)
            if end and end.kind is not Kind.OK:
                step.statusDetails = StatusDetails(message=printable(sentence(end)))
            yield step


def _told(events: Sequence[Event], trial: Trial) -> Iterator[TestStepResult]:
    for event in events:
        if event.kind in TOLD:
            status = Status.FAILED if event.kind is Kind.VIOLATION else Status.PASSED
            text = f"{event.kind}: {sentence(event)}"
            yield _step(text, trial, event.at_ns, event.at_ns, status)


def _step(
    text: str,
    trial: Trial,
    start_ns: int,
    end_ns: int,
    status: str,
    steps: Sequence[TestStepResult] = (),
) -> TestStepResult:
    # What is as expected is not red: with its bug switch on, a plan has to fail.
    return TestStepResult(
        name=first_line(text, 500),
        start=_unix_ms(trial, start_ns),
        stop=_unix_ms(trial, end_ns),
        status=Status.PASSED if trial.as_expected else status,
        steps=list(steps),
    )


def _unix_ms(trial: Trial, at_ns: int) -> int:
    return int(trial.started_unix * 1000 + (at_ns - trial.started_ns) / 1e6)
