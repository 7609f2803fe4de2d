"""What a plan's verdict should be on one target, which may have defects and lack bug switches."""

from __future__ import annotations

from chaos.errors import nearest
from chaos.language.catalogue import Vocabulary
from chaos.plan import Plan
from chaos.target import Target
from chaos.verdict import Expectation, Verdict


def expectation(plan: Plan, bug: str, target: Target) -> Expectation:
    """PASS; a FAIL that names each defect when ``bug`` is on, or the target has defects of its own.

    ``bug`` is the switch that is on, '' when all are off. Of the target's defects those count that
    the plan's ``bugs`` name.
    """
    if bug in plan.withstands:
        return Expectation()
    present = [name for name in plan.bugs if name == bug or name in target.defects]
    if not present and not bug:
        return Expectation()
    violations = dict.fromkeys(name for defect in present for name in plan.bugs[defect])
    return Expectation(Verdict.FAIL, tuple(violations))


def skip_reason(bug: str, words: Vocabulary) -> str:
    """Why no case with this bug switch on can run on the target; '' when one can."""
    switches = words.target.bugs
    if not bug or bug in switches:
        return ""
    return f"target `{words.target.name}` has no bug switch `{bug}`; {nearest(bug, switches)}"
