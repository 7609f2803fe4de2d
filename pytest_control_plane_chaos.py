"""Where pytest finds the plugin: outside our packages, so that it can tell when one is hidden.

A package ``chaos`` of the user's own, found first, would otherwise end every pytest run with an
import error that names neither of the two.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_ours = Path(__file__).resolve().parent / "chaos"
_found = importlib.util.find_spec("chaos")
_where = [Path(place).resolve() for place in (_found and _found.submodule_search_locations) or ()]
if _ours not in _where:
    raise pytest.UsageError(
        f"Your package `chaos` at {_where[0] if _where else 'sys.path'} hides ours at {_ours}: "
        "rename it, or run `pytest` instead of `python -m pytest`, which puts the current folder "
        "first. Without chaos tests: `-p no:chaos`."
    )

from chaos.pytest_plugin import (  # noqa: E402 - only once it is known to be ours
    chaos,
    pytest_addhooks,
    pytest_addoption,
    pytest_collect_file,
    pytest_configure,
    pytest_configure_node,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = [
    "chaos",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]
