"""Named points of a target's execution: where a fault may strike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class When(StrEnum):
    """On which side of the function the point lies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Point:
    """What an alias such as ``hypervisor.start`` means in one target.

    ``function`` is ``package.module:Qualified.name`` inside the service's process; ``services`` is
    a shell pattern over service names (``compute-*``): only those processes are armed.
    """

    function: str
    services: str = "*"
    summary: str = ""
