"""The pristine state of a directory of SQLite files: kept once, brought back in milliseconds.

Files are restored in place, as one transaction each, so services may keep them open meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


class Pristine:
    """What the databases of ``directory`` held when this was made.

    Raises:
        sqlite3.Error: a file is no database, or locked for longer than ten seconds.
    """

    def __init__(self, directory: Path) -> None:
        self._copies: dict[Path, sqlite3.Connection] = {}
        self._files: dict[Path, sqlite3.Connection] = {}
        self._versions: dict[Path, int] = {}
        for path in sorted(directory.glob("*.sqlite")):
            file = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            file.execute("PRAGMA synchronous=OFF")
            copy = sqlite3.connect(":memory:", check_same_thread=False)
            file.backup(copy)
            self._files[path], self._copies[path] = file, copy
            self._versions[path] = _version(file)

    def restore(self) -> None:
        """Bring back what was there; a file that nobody has changed is left alone."""
        for path, file in self._files.items():
            if _version(file) != self._versions[path]:
                self._copies[path].backup(file, sleep=0.001)
                self._versions[path] = _version(file)

    def close(self) -> None:
        """Close the files and forget the copies."""
        for connection in (*self._files.values(), *self._copies.values()):
            connection.close()


def _version(file: sqlite3.Connection) -> int:
    # Changes whenever another connection has committed, and only then.
    with closing(file.execute("PRAGMA data_version")) as cursor:
        version: int = cursor.fetchone()[0]
    return version
