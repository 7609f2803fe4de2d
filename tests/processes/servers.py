"""Real servers that overwrite or clear their environment, found where Debian puts them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

DEMANDED = "CHAOS_TESTS_DEMAND_ALL"
"""Where this variable is set nothing may be skipped: a program that is missing is an error."""

_PLACES = [
    *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    os.environ.get("PATH", os.defpath),
]


def program(name: str, package: str) -> str:
    """The path of a server's program; skips the test where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join(_PLACES))
    if found is None:
        absent(f"{name} is not installed (Debian: {package})")
    return found


def absent(what: str) -> NoReturn:
    """Skip the test for the want of something, or fail where nothing may be skipped."""
    if os.environ.get(DEMANDED):
        pytest.fail(what)
    pytest.skip(what)
