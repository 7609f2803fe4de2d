"""Who may do what: a table of actions and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from targets.reference import context
from targets.reference.context import RequestContext
from targets.reference.web import HttpError

Rule = Callable[[RequestContext], bool]
Check = Callable[[], None]


def _reader(caller: RequestContext) -> bool:
    return True


RULES: Mapping[str, Rule] = {
    "flavors:index": _reader,
    "flavors:extra-specs": _reader,
    "limits": _reader,
    "os-availability-zone:list": _reader,
    "os-instance-actions:list": _reader,
    "os-volumes-attachments:create": _reader,
    "os-volumes-attachments:delete": _reader,
    "os-volumes-attachments:index": _reader,
    "os-volumes-attachments:update": _reader,
    "servers:act": _reader,
    "servers:create": _reader,
    "servers:delete": _reader,
    "servers:index": _reader,
}
"""What Nova calls ``os_compute_api:`` and this."""


def check(name: str) -> Check:
    """Return a function that lets the current request's user pass, or raises a 403.

    Raises:
        KeyError: there is no such rule.
    """
    rule = RULES[name]

    def pass_or_refuse() -> None:
        if not rule(context.current()):
            raise HttpError(403, f"Policy doesn't allow os_compute_api:{name} to be performed.")

    return pass_or_refuse
