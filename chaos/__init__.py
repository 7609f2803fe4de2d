"""Fault-injection chaos testing for control planes.

The names below are what tests written in Python use; they are imported when first touched, so
that ``import chaos`` costs nothing in a service that carries only the failpoint agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.invariant import Evidence, invariant
    from chaos.operation import Operations
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
    from chaos.target import Target
    from chaos.verdict import Outcome, Verdict
    from chaos.world import World

_HOMES = {
    "chaos.invariant": ("Evidence", "invariant"),
    "chaos.plan": (
        "Injection", "Location", "Plan", "Step",
        "actor", "inject", "kill", "reach", "restart", "start", "step", "together",
    ),
    "chaos.operation": ("Operations",),
    "chaos.target": ("Target",),
    "chaos.world": ("World",),
    "chaos.verdict": ("Outcome", "Verdict"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Evidence",
    "Injection",
    "Location",
    "Operations",
    "Outcome",
    "Plan",
    "Step",
    "Target",
    "Verdict",
    "World",
    "actor",
    "inject",
    "invariant",
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
