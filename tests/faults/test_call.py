"""Faults of a call: proved by what they do to the target, and by what the history has of them."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.history import Event, Kind
from chaos.language.bind import UnboundPlan
from chaos.plan import Injection, Location, Step, inject, step
from chaos.point import When
from chaos.verdict import Outcome, Verdict
from tests.conftest import Running
from tests.tiny.plans import MOVE, SEND, plan
from tests.tiny.tiny import TinyWorld

CLAIM = step("parcel.claim", parcel="p", by="bert", allow=(409,))
AT_A = step("parcel.expect", parcel="p", place="a")
AT_B = step("parcel.expect", parcel="p", place="b")
ARRIVED = step("parcel.wait", parcel="p", place="b")


class Struck:
    """One round with one fault: how it ended, and what the history has of it."""

    def __init__(self, tiny: Running, injection: Injection, name: str, *during: Step) -> None:
        self.outcome: Outcome = tiny.run(plan(injection, name=name, during=during))
        trial = tiny.journal.trials()[-1]
        self.events: tuple[Event, ...] = tuple(tiny.journal.events(trial.id, 1))

    @property
    def evidence(self) -> list[tuple[str, str, str]]:
        """What is told of the fault: kind of event, service, and what happened."""
        return [
            (event.kind.value, event.lane, event.data.get("action") or event.data["text"])
            for event in self.events
            if event.kind is Kind.FAULT or event in self.strikes
        ]

    @property
    def strikes(self) -> list[Event]:
        """The hits of the fault."""
        return [e for e in self.events if e.kind is Kind.HIT and e.data["action"] != "record"]

    @property
    def reached(self) -> list[str]:
        """The points that were reached after the fault had struck."""
        later = self.events[self.events.index(self.strikes[0]) + 1 :]
        return [event.name for event in later if event.kind is Kind.HIT]

    @property
    def refused(self) -> list[tuple[int, str]]:
        """Status and message of each operation that failed."""
        return [
            (event.data["status"], event.data["error"])
            for event in self.events
            if event.kind is Kind.FAIL
        ]

    @property
    def passed(self) -> bool:
        return (self.outcome.verdict, self.outcome.reason) == (Verdict.PASS, "")


@pytest.fixture
def world(tiny: Running, monkeypatch: pytest.MonkeyPatch) -> list[TinyWorld]:
    """Every look at the world, to see what a fault has left."""
    looks: list[TinyWorld] = []
    target: Any = tiny.session.words.target
    observe = target.observe

    def look() -> TinyWorld:
        looks.append(observe())
        return looks[-1]

    monkeypatch.setattr(target, "observe", look)
    return looks


# ---------------------------------------------------------------------- return


def test_a_call_that_returns_another_value_is_not_made(
    tiny: Running, world: list[TinyWorld]
) -> None:
    injection = inject("return", at="before claim.read", value="anna")
    struck = Struck(tiny, injection, "return-before", CLAIM)
    assert struck.passed
    assert struck.refused == [(409, "POST /claim: 409 Conflict: it is anna's")]
    assert {parcel.owner for look in world for parcel in look.parcels} == {None}
    assert struck.evidence == [
        ("hit", "desk", "return"),
        ("fault", "desk", "return before claim.read"),
    ]


def test_a_call_that_was_made_returns_another_value(tiny: Running) -> None:
    """The carrier is told of a send that there is not: its timer finds the one that there is."""
    injection = inject("return", at="after send.store", value="nothing")
    struck = Struck(tiny, injection, "return-after", SEND, ARRIVED)
    assert struck.passed
    assert struck.reached.index("carrier.tick") < struck.reached.index("carry.take")
    assert struck.evidence[0] == ("hit", "desk", "return")


@pytest.mark.parametrize("value", [None, 7, 1.5, "b", ["b"], {"b": [1, None]}], ids=str)
def test_a_call_may_return_whatever_a_plan_can_write(tiny: Running, value: object) -> None:
    injection = inject("return", at="before desk.move", value=value)
    struck = Struck(tiny, injection, f"value-{type(value).__name__.lower()}", MOVE, AT_A)
    (answer,) = (
        e.data["answer"] for e in struck.events if e.kind is Kind.OK and e.name == "parcel.move"
    )
    assert struck.passed
    assert answer == value


# ---------------------------------------------------------------------- drop


def test_a_call_that_is_dropped_is_not_made(tiny: Running) -> None:
    struck = Struck(tiny, inject("drop", at="before usage.give"), "drop-before", MOVE)
    assert struck.outcome.violated[0] == "usage-matches"
    assert "b is said to hold 0 and holds 1" in struck.outcome.reason
    assert struck.evidence == [
        ("hit", "desk", "drop"),
        ("fault", "desk", "drop before usage.give"),
    ]


def test_a_call_whose_answer_is_dropped_was_made(tiny: Running) -> None:
    """The desk cannot wake the carrier for a send whose key it was not told."""
    lost = SEND.model_copy(update={"allow": (500,)})
    struck = Struck(tiny, inject("drop", at="after send.store"), "drop-after", lost, ARRIVED)
    assert struck.passed
    assert [status for status, _ in struck.refused] == [500]


# ---------------------------------------------------------------------- duplicate


def test_a_call_that_is_duplicated_is_made_twice(tiny: Running) -> None:
    struck = Struck(tiny, inject("duplicate", at="before usage.give"), "twice-before", MOVE)
    assert struck.outcome.violated[0] == "usage-matches"
    assert "b is said to hold 2 and holds 1" in struck.outcome.reason
    assert struck.evidence == [
        ("hit", "desk", "duplicate"),
        ("fault", "desk", "duplicate before usage.give"),
    ]


@pytest.mark.parametrize("when", When)
def test_the_caller_gets_the_second_answer(tiny: Running, when: When) -> None:
    make = step("parcel.make", name="q", place="a", allow=(409,))
    there = step("parcel.expect", parcel="q", place="a")
    injection = inject("duplicate", at=Location(when=when, point="desk.make"))
    struck = Struck(tiny, injection, f"second-{when}", make, there)
    assert struck.passed
    assert struck.refused == [(409, "POST /make: 409 Conflict: there is a parcel q already")]


@pytest.mark.parametrize("when", When)
def test_a_call_that_may_be_made_twice_passes(tiny: Running, when: When) -> None:
    again = inject("duplicate", at=Location(when=when, point="carry.put"))
    assert Struck(tiny, again, f"twice-{when}", SEND, ARRIVED).passed


# ---------------------------------------------------------------------- delay and error


def test_a_call_that_is_delayed_takes_longer(tiny: Running) -> None:
    struck = Struck(tiny, inject("delay", at="before desk.move", seconds=0.3), "delayed", MOVE)
    asked, answered = (event.at_ns for event in struck.events if event.name == "parcel.move")
    assert struck.passed
    assert answered - asked > 0.3e9
    assert struck.evidence == [
        ("hit", "desk", "delay"),
        ("fault", "desk", "delay before desk.move"),
    ]


def test_a_call_that_raises_is_not_made(tiny: Running) -> None:
    injection = inject("error", at="before desk.move", exception="OSError", message="cut")
    refused = MOVE.model_copy(update={"allow": (500,)})
    struck = Struck(tiny, injection, "raises-before", refused, AT_A)
    assert struck.passed
    assert struck.refused == [(500, "POST /move: 500 Internal Server Error: OSError('cut')")]
    assert struck.evidence == [
        ("hit", "desk", "raise"),
        ("fault", "desk", "error before desk.move"),
    ]


def test_a_call_that_raises_afterwards_was_made(tiny: Running) -> None:
    injection = inject("error", at="after desk.move", exception="sqlite3:OperationalError")
    refused = MOVE.model_copy(update={"allow": (500,)})
    struck = Struck(tiny, injection, "raises-after", refused, AT_B)
    assert struck.passed
    ((status, told),) = struck.refused
    assert status == 500
    assert told.endswith("OperationalError('injected by a fault plan')")


# ---------------------------------------------------------------------- several calls, one actor

EVERY = [
    ("delay", {"seconds": 0.001}, "delay"),
    ("error", {"exception": "OSError"}, "raise"),
    ("return", {"value": None}, "return"),
    ("drop", {}, "drop"),
    ("duplicate", {}, "duplicate"),
]


@pytest.mark.parametrize(("word", "arguments", "action"), EVERY)
def test_each_of_several_calls_is_struck(
    tiny: Running, word: str, arguments: dict[str, Any], action: str
) -> None:
    second = Location(when=When.BEFORE, point="desk.move", occurrence=2)
    injection = Injection(at=second, do=word, arguments={**arguments, "times": 2})
    during = [step("parcel.move", parcel="p", to=to, allow=(500,)) for to in "bcde"]
    struck = Struck(tiny, injection, f"several-{word}", *during)
    assert struck.passed, struck.outcome
    assert struck.evidence == [
        *[("hit", "desk", action)] * 2,
        *[("fault", "desk", f"{word} before desk.move")] * 2,
    ]


@pytest.mark.parametrize(("word", "arguments", "action"), EVERY)
def test_only_the_actor_that_the_plan_names_is_struck(
    tiny: Running, word: str, arguments: dict[str, Any], action: str
) -> None:
    at = Location(when=When.BEFORE, point="desk.move", actor="second")
    first, second = (
        step("parcel.move", parcel="p", to=to, label=label, allow=(500,))
        for label, to in (("first", "b"), ("second", "c"))
    )
    struck = Struck(tiny, inject(word, at=at, **arguments), f"actor-{word}", first, second)
    assert struck.passed, struck.outcome
    assert [(hit.actor, hit.data["action"]) for hit in struck.strikes] == [("second", action)]


@pytest.mark.parametrize(
    ("word", "arguments", "told"),
    [
        ("delay", {}, "needs the argument `seconds`"),
        ("delay", {"seconds": 0}, "greater than 0"),
        ("delay", {"seconds": 61}, "60"),
        ("drop", {"times": 0}, "1"),
        ("return", {"vlaue": 1}, "did you mean `value`?"),
        ("error", {"exception": 7}, "must be a word"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(
    tiny: Running, word: str, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(UnboundPlan) as error:
        tiny.run(plan(inject(word, at="before desk.move", **arguments)))
    assert told in str(error.value)


@pytest.mark.parametrize("word", [word for word, _, _ in EVERY])
def test_a_fault_of_a_call_needs_one(tiny: Running, word: str) -> None:
    with pytest.raises(UnboundPlan, match=f"the fault `{word}` needs an `at`"):
        tiny.run(plan(inject(word)))


@pytest.mark.parametrize(
    ("exception", "problem"),
    [
        ("SystemExit", "`SystemExit` is no exception that can be raised"),
        ("KeyboardInterrupt", "`KeyboardInterrupt` is no exception that can be raised"),
        ("print", "`print` is no exception that can be raised"),
        ("builtins:SystemExit", "`builtins:SystemExit` is no exception that can be raised"),
        ("int", "`int` is no exception that can be raised"),
        ("OSEror", "`OSEror` is no exception that can be raised; did you mean `OSError`"),
        ("json.JSONDecodeError", "one of a module is `module:Class`"),
        ("json:", "`json:` is not of the form `module:Class`"),
        ("json:a.b", "`json:a.b` is not of the form `module:Class`"),
    ],
)
def test_what_can_never_be_raised_is_refused_when_the_plan_is_loaded(
    tiny: Running, exception: str, problem: str
) -> None:
    with pytest.raises(UnboundPlan) as error:
        tiny.run(plan(inject("error", at="before desk.move", exception=exception)))
    assert problem in str(error.value)


def test_an_error_is_made_of_the_arguments_of_the_plan(tiny: Running) -> None:
    fault = inject(
        "error",
        at="before desk.move",
        exception="subprocess:CalledProcessError",
        arguments=[1, "x"],
    )
    outcome = tiny.run(plan(fault, during=(step("parcel.move", parcel="p", to="b", allow=(500,)),)))
    assert outcome.verdict is Verdict.PASS, outcome.reason
