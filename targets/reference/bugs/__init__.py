"""Bug switches: historical defects, each a module that puts the old function into its place.

The services know nothing of them. A switch is named after its bug on Launchpad; ``apply`` replaces
the correct function by the faulty one, in the process that calls it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path


def available() -> dict[str, str]:
    """Return every switch and the first line of what its module says of it."""
    # Read, not imported: who asks needs none of the services' code.
    here = Path(__file__).parent
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        for path in sorted(here.glob("[!_]*.py"))
    }


def apply_named(names: Iterable[str]) -> None:
    """Put in the defects of these names.

    Raises:
        LookupError: there is no such switch.
    """
    for name in sorted(names):
        if name not in (known := available()):
            raise LookupError(f"no bug switch `{name}`; there are {', '.join(known)}")
        import_module(f"{__name__}.{name}").apply()
