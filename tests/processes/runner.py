"""A runner to be killed: boots the ledger, and says when a moment has come.

python -m tests.processes.runner LABEL RUN_DIR booted | starting | frozen
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.safety.reaper import Reaper
from chaos.safety.undo import Thaw, UndoLog
from chaos.target import Instrumentation
from tests.ledger.ledger import Ledger


def main(label: str, run_dir: Path, moment: str) -> None:
    # What a job in the background inherits is to ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ledger = Ledger()
    reaper = Reaper(label, run_dir, remove_run_dir=True)
    reaper.start()
    print(reaper.pid, flush=True)

    def tell(service: str, event: str, details: Mapping[str, Any]) -> None:
        if moment == "starting" and (service, event) == ("vault", "started"):
            print(moment, flush=True)

    ledger.start(Instrumentation(label, run_dir, lambda _: {}, tell), frozenset())
    if moment == "frozen":
        vault = ledger.services["vault"]
        assert vault.pid is not None
        UndoLog(run_dir).push(Thaw.of(vault.pid))
        vault.freeze()
    print(moment, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
