"""That one run, and no other, writes to a results folder."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos.errors import ChaosError

_SUFFIX = ".claim"


class Claim:
    """Held by each process of the run ``run`` until it is released, or the process has died.

    ``part`` tells the processes of a run apart. A claim is a locked file in the folder; one whose
    lock can be had is that of a dead process, and is removed.

    Raises:
        ChaosError: a process of another run holds one; says which.
        OSError: nothing can be written there.
    """

    def __init__(self, folder: Path, run: str, part: str) -> None:
        self._path = folder / f".{run}-{part}{_SUFFIX}"
        with _alone(folder):
            for other in folder.glob(f".*{_SUFFIX}"):
                if run_of(other) != run:
                    _refuse(folder, other)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._descriptor)
            os.write(self._descriptor, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others write; safe to call twice."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def run_of(file: Path) -> str:
    """The run that a file of a run's process belongs to: it is called ``.RUN-PART.…``."""
    return file.name[1:].partition("-")[0]


def _refuse(folder: Path, claim: Path) -> None:
    """Raise when the owner of a claim lives; remove the claim of a dead one."""
    with suppress(FileNotFoundError):
        descriptor = os.open(claim, os.O_RDWR)
        try:
            if not _lock(descriptor):
                process = os.read(descriptor, 20).decode(errors="replace")
                raise ChaosError(
                    f"another run (process {process}) writes to the results folder {folder}: wait"
                    " for its end, or choose another folder (`chaos run --results`, pytest:"
                    " `--chaos-results`)"
                )
            claim.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else looks for claims meanwhile, or makes one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Whether nobody else has it locked; a file system without locks cannot tell, and need not."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return error.errno not in {errno.EWOULDBLOCK, errno.EACCES}
    return True
