"""The user whom a service runs as."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.errors import TargetError, nearest
from targets.topology import ServiceSpec


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine who is not the one that runs this."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process finds when it has become this user (systemd.exec(5))."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def account_of(spec: ServiceSpec) -> Account | None:
    """The user that a service is to become; None when it need not become another.

    Raises:
        TargetError: there is no such user, or only root could become it.
    """
    if not spec.user:
        return None
    try:
        found = pwd.getpwnam(spec.user)
    except KeyError:
        near = nearest(spec.user, (other.pw_name for other in pwd.getpwall()))
        raise TargetError(
            f"service {spec.name} is to run as `{spec.user}`, who is no user here: {near}"
        ) from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise TargetError(
            f"service {spec.name} is to run as `{spec.user}`, which only root can arrange:"
            f" run this as root or as {spec.user}, or leave `user` out"
        )
    return Account(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir)


def make_directory(path: Path, account: Account | None) -> None:
    """Make a working directory where there is none, for the user that it is to belong to.

    Raises:
        TargetError: it cannot be made.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        if account:
            os.chown(path, account.uid, account.gid)
    except OSError as error:
        raise TargetError(f"the working directory {path} cannot be made: {error}") from error
