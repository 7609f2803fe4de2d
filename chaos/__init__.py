"""Fault-injection chaos testing for control planes.

The names below are what tests written in Python use; they are imported when first touched, so
that ``import chaos`` costs nothing in a service that carries only the failpoint agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.invariant import Evidence, invariant
    from chaos.plan import Injection, Location, Plan, Step, inject, reach, step, together
    from chaos.target import Operations, Target, World
    from chaos.verdict import Outcome, Verdict

_HOMES = {
    "chaos.invariant": ("Evidence", "invariant"),
    "chaos.plan": (
        "Injection", "Location", "Plan", "Step",
        "inject", "reach", "step", "together",
    ),
    "chaos.target": ("Operations", "Target", "World"),
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
    "inject",
    "invariant",
    "reach",
    "step",
    "together",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module `chaos` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(_HOME_OF[name]), name)
