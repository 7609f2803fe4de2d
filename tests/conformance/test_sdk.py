"""The quick ones of openstacksdk's own tests; all of them: ``make conformance``."""

from __future__ import annotations

from pathlib import Path

from tests.conformance import sdk
from tests.conformance.running import running


def test_the_sdks_own_tests_pass(tmp_path: Path) -> None:
    with running(tmp_path) as target:
        results = sdk.run(target.clouds_yaml, sdk.QUICK, tmp_path)
    assert len(results) >= 8
    assert {result.test: result.reason for result in results if result.outcome != "passed"} == {}
