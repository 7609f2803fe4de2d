"""Run all client tests on the reference, and print what became of each: ``make conformance``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance import sdk
from tests.conformance.running import running


def main() -> int:
    """Return 0 if whatever is supported passed."""
    chosen = [
        module for module in sdk.MODULES if not sys.argv[1:] or module.endswith(tuple(sys.argv[1:]))
    ]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as target:
        results = sdk.run(target.clouds_yaml, chosen, Path(folder))
    return _tell(results)


def _tell(results: list[sdk.Result]) -> int:
    table = Table("test", "outcome", "seconds", "reason", title="openstacksdk's functional tests")
    outcomes = []
    for result in results:
        known = sdk.NOT_SUPPORTED.get(result.test, "")
        outcome = "not supported" if known and result.outcome != "passed" else result.outcome
        outcomes.append(outcome)
        table.add_row(result.test, outcome, f"{result.duration_s:.1f}", known or result.reason)
    console = Console(width=160)
    console.print(table)
    counts = [
        f"{outcomes.count(kind)} {kind}"
        for kind in ("passed", "failed", "skipped", "not supported")
    ]
    console.print(", ".join(counts))
    return 0 if outcomes and not {"failed", "skipped"} & {*outcomes} else 1


if __name__ == "__main__":
    sys.exit(main())
