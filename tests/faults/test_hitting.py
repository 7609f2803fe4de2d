"""The evidence of a strike, of an arm that a test plays."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chaos.fault import FaultContext
from chaos.hit import Hit
from chaos.plan import Location
from chaos.point import When
from faults.hitting import Hitting

HIT = cast(Hit, object())


class Arm:
    """What the controller would tell of an armed point."""

    def __init__(self, **told: Any) -> None:
        self.number = 1
        self.hits: tuple[Hit, ...] = ()
        self.matched = 0
        self.unwanted = 0
        self.state = {"desk": "armed"}
        vars(self).update(told)

    def wait(self, deadline_s: float | None, *, number: int = 1) -> Hit | None:
        """There is nothing to wait for."""
        return self.hits[number - 1] if len(self.hits) >= number else None

    def disarm(self) -> None:
        """It is no arm."""


class Context:
    """Nobody came to the point otherwise."""

    def reached(self, point: str) -> list[Hit]:
        return []


def strike(arm: Arm, times: int = 1, occurrence: int = 1) -> Hitting:
    at = Location(when=When.BEFORE, point="desk.move", occurrence=occurrence)
    return Hitting(cast(FaultContext, Context()), arm, at, "delay", times)


@pytest.mark.parametrize(
    ("arm", "times", "occurrence", "missing"),
    [
        (Arm(hits=(HIT,), matched=1), 1, 1, ""),
        (Arm(hits=(HIT, HIT), matched=2), 2, 1, ""),
        (Arm(matched=1), 1, 2, "`before desk.move` was reached once, the plan wants the 2nd."),
        (Arm(matched=2), 1, 3, "`before desk.move` was reached 2 times, the plan wants the 3rd."),
        (Arm(matched=10), 1, 11, "`before desk.move` was reached 10 times, the plan wants the 11t"),
        (Arm(matched=20), 1, 21, "`before desk.move` was reached 20 times, the plan wants the 21s"),
        (Arm(hits=(HIT,), matched=3), 2, 3,
         "`before desk.move` was reached 3 times and struck once, the plan wants 2."),
        (Arm(), 1, 1, "The point `before desk.move` was never reached (it was armed in desk)."),
        (Arm(state={"desk": "pending"}), 1, 1, "its module was not imported in desk"),
        (Arm(state={}), 1, 1, "(it was armed in no service)"),
        (Arm(state={"desk": "armed", "carrier": "error: no"}), 1, 1,
         "(it was armed in desk; carrier: error: no)"),
        (Arm(matched=1, state={"desk": "error: no class"}), 1, 1,
         "was reached once, but could not be struck: desk: error: no class."),
        (Arm(unwanted=2), 1, 1, "2 calls of it raised, and did not return."),
        (Arm(matched=1, unwanted=1), 1, 2,
         "the plan wants the 2nd. 1 call of it raised, and did not return."),
    ],
)  # fmt: skip
def test_it_says_how_far_it_was_from_striking(
    arm: Arm, times: int, occurrence: int, missing: str
) -> None:
    told = strike(arm, times, occurrence)
    assert missing in told.missing()
    assert told.wait(0) is (told.missing() == "")


@pytest.mark.parametrize(
    ("arm", "coming"),
    [
        (Arm(), False),
        (Arm(matched=1), True),
        (Arm(matched=1, state={"desk": "error: no class"}), False),
    ],
)
def test_a_call_that_was_let_through_is_waited_for(arm: Arm, coming: bool) -> None:
    assert strike(arm).coming is coming
    assert strike(arm, occurrence=2).coming is False
    assert strike(arm, times=2).coming is False
