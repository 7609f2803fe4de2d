"""Fault-injection chaos testing for control planes.

The names below are what tests and targets in Python use; they are imported when first touched, so
that ``import chaos`` costs nothing in a service that carries only the failpoint agent. (A name that
a module of ours has, such as ``invariant``, cannot be one of them.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.invariant import Evidence
    from chaos.operation import ExpectationFailed, Operations, Scope
    from chaos.plan import (
        Injection,
        Location,
        Plan,
        Step,
        actor,
        inject,
        kill,
        reach,
        restart,
        start,
        step,
        together,
    )  # fmt: skip
    from chaos.point import Point
    from chaos.target import Limits, Target
    from chaos.verdict import Outcome, Verdict
    from chaos.words import Word
    from chaos.world import World

_HOMES = {
    "chaos.invariant": ("Evidence",),
    "chaos.plan": (
        "Injection", "Location", "Plan", "Step",
        "actor", "inject", "kill", "reach", "restart", "start", "step", "together",
    ),
    "chaos.operation": ("ExpectationFailed", "Operations", "Scope"),
    "chaos.point": ("Point",),
    "chaos.target": ("Limits", "Target"),
    "chaos.words": ("Word",),
    "chaos.world": ("World",),
    "chaos.verdict": ("Outcome", "Verdict"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Evidence",
    "ExpectationFailed",
    "Injection",
    "Limits",
    "Location",
    "Operations",
    "Outcome",
    "Plan",
    "Point",
    "Scope",
    "Step",
    "Target",
    "Verdict",
    "Word",
    "World",
    "actor",
    "inject",
    "kill",
    "reach",
    "restart",
    "start",
    "step",
    "together",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module `chaos` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(_HOME_OF[name]), name)
