"""JUnit XML, as Jenkins and GitLab read it.

One ``testsuite`` per plan file, one ``testcase`` per trial. A verdict that is not the expected one
is a ``failure``; ERROR, and a runner that died, an ``error``; SKIPPED is ``skipped``, or a
``failure`` where every case was required. Leftovers are a failing test case.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from chaos.journal import Journal, Trial
from reports.summary import NO_VERDICT, Summary, expectation, reason, verdict
from reports.text import first_line, printable


def render(journal: Journal, output: Path) -> None:
    """Write the run as JUnit XML to ``output``."""
    summary = Summary.of(journal)
    root = Element("testsuites", name="chaos")
    suites: dict[str, list[Trial]] = defaultdict(list)
    for trial in summary.trials:
        suites[trial.location or trial.plan].append(trial)
    for name, trials in suites.items():
        _suite(root, name, trials)
    if summary.residues:
        _residue(root, summary.residues)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.attrib[count]) for suite in root)))
    root.set("time", f"{summary.duration_s:.3f}")
    indent(root)
    ElementTree(root).write(output, encoding="utf-8", xml_declaration=True)


def _suite(root: Element, name: str, trials: list[Trial]) -> None:
    summary = Summary(tuple(trials), ())
    suite = SubElement(root, "testsuite", name=printable(name))
    names: Counter[str] = Counter()
    for trial in trials:
        case = trial.title_of_case + (f"[{trial.bug}]" if trial.bug else "")
        names[case] += 1
        # Readers take two cases of one name for one case: a sweep runs a plan many times.
        _case(suite, trial, f"{case} #{names[case]}" if names[case] > 1 else case)
    suite.set("tests", str(len(trials)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{sum(trial.duration_s or 0.0 for trial in trials):.3f}")
    if summary.started:
        suite.set("timestamp", f"{summary.started:%Y-%m-%dT%H:%M:%S}")


def _case(suite: Element, trial: Trial, name: str) -> None:
    case = SubElement(
        suite,
        "testcase",
        classname=printable(f"chaos.{trial.target}.{trial.scenario or trial.plan}"),
        name=printable(name),
        time=f"{trial.duration_s or 0.0:.3f}",
    )
    why = f"{reason(trial)}\n\nReproduce: {trial.reproduce}"
    if trial.skipped:
        SubElement(case, "skipped", message=printable(reason(trial)))
    if trial.unexpected:
        broken = verdict(trial) in ("ERROR", NO_VERDICT)
        message = f"{verdict(trial)}, expected {expectation(trial)}: {first_line(reason(trial))}"
        found = SubElement(
            case,
            "error" if broken else "failure",
            type=printable(verdict(trial)),
            message=printable(message),
        )
        found.text = printable(why)
    facts = (
        trial.title, f"trial {trial.id}", trial.source, trial.note,
        "" if trial.unexpected else why,
    )  # fmt: skip
    SubElement(case, "system-out").text = printable("\n".join(fact for fact in facts if fact))


def _residue(root: Element, residues: tuple[str, ...]) -> None:
    suite = SubElement(
        root,
        "testsuite",
        name="residue",
        tests="1",
        failures="1",
        errors="0",
        skipped="0",
        time="0",
    )
    case = SubElement(suite, "testcase", classname="chaos.residue", name="nothing is left over")
    message = f"{len(residues)} left over"
    SubElement(case, "failure", type="RESIDUE", message=message).text = printable(
        "\n".join(residues)
    )
