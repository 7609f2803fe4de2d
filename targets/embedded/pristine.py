"""Moments of a directory of SQLite files: kept in memory, brought back in milliseconds.

Files are restored in place, as one transaction each, so services may keep them open meanwhile. A
file that nobody has written to since is neither copied nor restored: a moment shares its copy.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


class _Copy:
    """What one file held; closed when no moment has it any more."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.database.close)
        file.backup(self.database)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What all files held at one time."""

    copies: Mapping[Path, _Copy]


class Pristine:
    """The databases of ``directory``, and what they held when this was made.

    Nobody may write to them while a moment is kept or restored.

    Raises:
        sqlite3.Error: a file is no database, or locked for longer than ten seconds.
    """

    def __init__(self, directory: Path) -> None:
        self._files = {path: _open(path) for path in sorted(directory.glob("*.sqlite"))}
        self._held = {path: (_Copy(file), _version(file)) for path, file in self._files.items()}
        """Of each file, the copy that it last was like, and its version then."""
        self._first = self.keep()

    def keep(self) -> Moment:
        """Keep what the files hold now, for as long as somebody has the moment."""
        for path, file in self._files.items():
            version = _version(file)
            if version != self._held[path][1]:
                self._held[path] = _Copy(file), version
        return Moment({path: copy for path, (copy, _) in self._held.items()})

    def restore(self, moment: Moment | None = None) -> None:
        """Bring back what was there at ``moment``; by default, when this was made."""
        for path, copy in (moment or self._first).copies.items():
            file = self._files[path]
            if (copy, _version(file)) != self._held[path]:
                copy.database.backup(file, sleep=0.001)
                self._held[path] = copy, _version(file)

    def close(self) -> None:
        """Close the files; what was kept can not be restored any more."""
        for file in self._files.values():
            file.close()


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    file.execute("PRAGMA synchronous=OFF")
    return file


def _version(file: sqlite3.Connection) -> int:
    # Changes whenever another connection has committed, and only then.
    with closing(file.execute("PRAGMA data_version")) as cursor:
        version: int = cursor.fetchone()[0]
    return version
