"""Named points of a target's execution: where a fault may strike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class When(StrEnum):
    """On which side of the function the point lies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Point:
    """What an alias such as ``hypervisor.start`` means in one target.

    ``function`` is ``package.module:Qualified.name`` inside the service's process; ``services`` is
    a shell pattern over service names, or several (``api|compute-*``): only those processes are
    armed, and each that need not be saves its time at every round. A point that
    a timer of the service drives is reached every ``every_s`` seconds, though nothing is under way;
    0: it is reached only on behalf of somebody.
    """

    function: str
    services: str = "*"
    summary: str = ""
    every_s: float = 0.0


def means(pattern: str, service: str) -> bool:
    """Whether a shell pattern, or one of several (``api|compute-*``), means a service.

    Of several services of a kind each has a number, and the kind's name means each.

    >>> means("api|compute-*", "compute-host1"), means("api", "api-2"), means("api-1", "api-2")
    (True, True, False)
    """
    kind, _, number = service.rpartition("-")
    names = (service, kind) if number.isdecimal() else (service,)
    return any(fnmatchcase(name, one) for one in pattern.split("|") for name in names)


@dataclass(frozen=True, slots=True)
class Access:
    """That a step read, or wrote, something which the steps of other actors may touch too.

    ``what`` is any name that is the same for the same thing (``nova_api/build_requests``).
    """

    what: str
    writes: bool

    def conflicts(self, other: Access) -> bool:
        """Whether the order of the two can matter."""
        return self.what == other.what and (self.writes or other.writes)


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """A function through which services read and write what they share.

    ``arguments`` are the names of those of its arguments that tell what; ``read(service, told)``
    makes accesses of their values (as text, by name). A target that lists all such functions lets
    the search leave out orders of steps that touch nothing in common.
    """

    point: Point
    arguments: tuple[str, ...]
    read: Callable[[str, Mapping[str, str]], Iterable[Access]]
