"""What the tests of the plugin share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LEDGER

ROOT = Path(__file__).parents[2]
QUICKLY = "-p no:hypothesispytest -p no:anyio"
"""Without plugins of others that take a second to be imported, at each start of pytest."""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's project that tests the ledger."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", QUICKLY)
    pytester.makeini(f"[pytest]\nchaos_target = {LEDGER}\n")
    return pytester
