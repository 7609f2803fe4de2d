"""Whose a temporary run directory is: it holds a file that its owner keeps locked while it lives.

The kernel releases the lock when the last who holds it has died, however that was: a directory
whose lock can be had is stale. Standard library only, for the reaper's sake.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PREFIX = "chaos-"
_FILE = ".owner"


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that a directory belongs to: its label, and its control group if it has one."""

    label: str
    group: str = ""


def claim(run_dir: Path, owner: Owner) -> int:
    """Write down whose ``run_dir`` is; returns the descriptor that holds the lock."""
    new = run_dir / f"{_FILE}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, json.dumps(asdict(owner)).encode())
    # Locked before it has its name: nobody ever sees it without its lock.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    new.rename(run_dir / _FILE)
    return descriptor


def stale() -> Iterator[tuple[Path, Owner]]:
    """Each run directory of ours, here in the temporary directory, whose owner is dead.

    It is ours for as long as its turn lasts. What belongs to another user, or does not say whose it
    is (as a directory that was to be kept), is passed over.
    """
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with suppress(OSError, ValueError, TypeError), _locked(path) as owner:
            if path.name.startswith(f"{PREFIX}{owner.label}-"):
                yield path, owner


@contextmanager
def _locked(run_dir: Path) -> Iterator[Owner]:
    """Hold the lock of a directory of this user's.

    Raises:
        OSError: somebody else holds it, or it is not a directory of this user's.
    """
    found = run_dir.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{run_dir} is none of ours")
    descriptor = os.open(run_dir / _FILE, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Owner(**json.loads(os.read(descriptor, 65536)))
    finally:
        os.close(descriptor)
