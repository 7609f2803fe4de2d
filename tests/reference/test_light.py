"""What only servers need costs nobody else anything."""

from __future__ import annotations

import subprocess
import sys

ALL_THAT_IS_PRELOADED = """
import importlib, sys
from targets.embedded.target import Embedded
for module in Embedded.topology.preload:
    importlib.import_module(module)
print(*sorted({"psycopg", "kombu", "amqp"} & {*sys.modules}))
"""


def test_the_embedded_control_plane_imports_no_driver_of_a_server() -> None:
    told = subprocess.run(
        [sys.executable, "-c", ALL_THAT_IS_PRELOADED], check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == []
