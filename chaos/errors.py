"""Every exception of the framework: one base, and one class per verdict that is not PASS.

A message says what happened, where (file and line, service, point) and what to do next; where a
name was wrong it ends with the nearest valid names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches


class ChaosError(Exception):
    """Base of everything that this project raises on purpose."""


class PlanError(ChaosError):
    """A plan cannot be loaded: its message names file, line, the wrong word and the right one."""


class TargetError(ChaosError):
    """The system under test could not be started, stopped, reset or observed."""


class NotReady(TargetError):
    """A service was not ready by its deadline."""


class PointError(ChaosError):
    """A point could not be armed or disarmed: its name is wrong, or a service does not answer."""


class NotArmed(PointError):
    """What no service can arm: a point that lies nowhere, an exception that cannot be made.

    ``points`` has what is wrong, by alias.
    """

    def __init__(self, points: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{alias}: {wrong}" for alias, wrong in points.items()))
        self.points = points


class NotSettled(ChaosError):
    """Work was still queued or in flight at the settle deadline; the message lists what."""


class WorldMoved(ChaosError):
    """The world never stood still long enough to be looked at as of one moment."""


class UndoError(ChaosError):
    """An injected fault could not be undone."""


class VerdictError(ChaosError):
    """Base of the verdicts that turn a test red.

    FAIL and VACUOUS are an :class:`AssertionError` too, by which others tell a test that has failed
    from one that broke.
    """


class Failed(VerdictError, AssertionError):
    """FAIL: an invariant or an expectation was violated; the message carries the evidence."""


class Vacuous(VerdictError, AssertionError):
    """VACUOUS: a fault of the plan never struck, so the run proves nothing."""


class Skipped(VerdictError):
    """SKIPPED: the target lacks something that the plan needs; says what."""


class Errored(VerdictError):
    """ERROR: the framework or its environment broke; says nothing about the target."""


_AS_NEAR = 0.05
"""Names that differ by less from the nearest one are told beside it."""


def _alike(word: str, name: str) -> float:
    return SequenceMatcher(None, name, word).ratio()


def nearest(word: str, valid: Iterable[str]) -> str:
    """End of a message for a misspelt ``word``: the closest of ``valid``, or all of them.

    >>> nearest("crsh", ["crash", "delay"])
    'did you mean `crash`?'
    """
    names = sorted(valid)
    close = get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        best = _alike(word, close[0])
        close = [name for name in close if best - _alike(word, name) < _AS_NEAR]
    if close:
        return f"did you mean {' or '.join(f'`{name}`' for name in close)}?"
    if not names:
        return "there are none to choose from"
    return f"choose one of {', '.join(f'`{name}`' for name in names)}"
