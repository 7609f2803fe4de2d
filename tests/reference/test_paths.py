"""What a path may contain."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from targets.embedded.observer import _open


@pytest.mark.parametrize("name", ["a#b", "a?mode=memory", "a%41b"])
def test_a_database_is_observed_where_its_path_says(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "nova_api.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE found (here)")
    with closing(_open(path)) as observed:
        assert observed.execute("SELECT name FROM sqlite_master").fetchall() == [("found",)]
