"""Who may do what: for each service a table of actions and rules.

A rule looks at who asks. Whose a record is stays the business of who looks it up: what belongs to
another project is not found, unless an administrator asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from targets.reference import context
from targets.reference.context import RequestContext
from targets.reference.web import HttpError

Rule = Callable[[RequestContext], bool]


def anybody(_: RequestContext) -> bool:
    """Whoever has a token."""
    return True


def reader(caller: RequestContext) -> bool:
    """Who may look at a project's things."""
    return bool(caller.project_id and caller.roles)


def member(caller: RequestContext) -> bool:
    """Who may change a project's things."""
    return bool(caller.project_id) and (caller.is_admin or "member" in caller.roles)


def admin(caller: RequestContext) -> bool:
    """An administrator, in any project."""
    return bool(caller.project_id) and caller.is_admin


def operator(caller: RequestContext) -> bool:
    """An administrator, in any project or of the whole system."""
    return caller.is_admin


class Policy:
    """The rules of one service, by action; ``refusal`` is its 403, with ``{}`` for the action."""

    def __init__(self, refusal: str, rules: Mapping[str, Rule]) -> None:
        self._refusal = refusal
        self._rules = rules

    def check(self, action: str) -> Callable[[], None]:
        """Return a function that raises a 403 unless whoever asks may do ``action``.

        Raises:
            KeyError: there is no rule for it.
        """
        rule = self._rules[action]

        def allowed() -> None:
            if not rule(context.current()):
                raise HttpError(403, self._refusal.format(action))

        return allowed


def owns(project_id: str) -> bool:
    """Whether whoever asks may see what belongs to a project."""
    caller = context.current()
    return caller.is_admin or caller.project_id == project_id
