"""Imported by a warm parent: every service forked from it then writes down the SQL it executes.

Never import it in a test: the runner's own SQLAlchemy would be spied upon.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect


def _tell(how: str, statement: str) -> None:
    line = json.dumps([how, os.environ.get("REFERENCE_SERVICE", ""), statement]) + "\n"
    with Path(os.environ["REFERENCE_RUN_DIR"], "statements.jsonl").open("ab", buffering=0) as file:
        file.write(line.encode())


def _spy(name: str) -> None:
    function = getattr(DefaultDialect, name)

    def told(self: Any, cursor: Any, statement: str, *rest: Any) -> Any:
        _tell(name, statement)
        return function(self, cursor, statement, *rest)

    setattr(DefaultDialect, name, told)


for _name in ("do_execute", "do_executemany", "do_execute_no_params"):
    _spy(_name)


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def _event(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
    _tell("event", statement)
