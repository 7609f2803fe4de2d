"""A library of invariants for the small system, and the system beside it."""

from __future__ import annotations

from chaos.invariant import Evidence, invariant
from tests.plans.system import target

__all__ = ["nothing_lost", "nothing_new", "target"]


@invariant("nothing-new", checked="settled")
def nothing_new(evidence: Evidence) -> list[str]:
    """Nothing is new."""
    return []


@invariant("nothing-lost", checked="always")
def nothing_lost(evidence: Evidence) -> list[str]:
    """Nothing is lost, as the library sees it."""
    return []
