"""Run all that judges the reference from outside, and tell what became of it: ``make conformance``.

With words, only the test modules of openstacksdk whose names end in them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from targets.embedded.target import Embedded
from tests.conformance import sdk
from tests.conformance.running import running
from tests.conformance.strange import send_many

STRANGE = 5000
"""How many requests are sent that no reasonable client sends."""


def main() -> int:
    """Return 0 if whatever is supported passed."""
    words = tuple(sys.argv[1:])
    chosen = [module for module in sdk.MODULES if not words or module.endswith(words)]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as target:
        wrong = _tell(sdk.run(target.clouds_yaml, chosen, Path(folder)))
        if not words:
            target.reset(frozenset())
            wrong |= _tell_strange(target)
    return wrong


def _tell_strange(target: Embedded) -> int:
    try:
        answers = send_many(target, STRANGE, alike=False)
    except AssertionError as error:
        print(f"strange requests: a service broke, or a server is stuck:\n{error}")
        return 1
    counts = ", ".join(f"{count} got {status}" for status, count in answers.items())
    print(f"strange requests: no 5xx and no server stuck; {counts}")
    return 0


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
