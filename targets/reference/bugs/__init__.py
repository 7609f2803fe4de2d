"""Bug switches: historical defects, each a module that puts the old function into its place.

The services know nothing of them. A switch is named after its bug on Launchpad; ``apply`` replaces
the correct function by the faulty one, in the process that calls it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module


def available() -> dict[str, str]:
    """Return every switch and the first line of what its module says of it."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: _first_line(import_module(f"{__name__}.{name}").__doc__) for name in names}


def apply_named(names: Iterable[str]) -> None:
    """Put in the defects of these names.

    Raises:
        LookupError: there is no such switch.
    """
    known = {module.name for module in pkgutil.iter_modules(__path__)}
    for name in sorted(names):
        if name not in known:
            raise LookupError(f"no bug switch `{name}`; there are {', '.join(sorted(known))}")
        import_module(f"{__name__}.{name}").apply()


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
