"""The fault plan: what is given, what happens, which fault strikes where, and what must hold.

One model with two faces: Python (this module's classes, and the short builders at its end) and
YAML (:mod:`chaos.language`, with a JSON Schema). The YAML form is the model's own serialized form,
so what a plan prints can be run again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from chaos.errors import nearest
from chaos.point import When
from chaos.words import Named, Word

REACH = "reach"
GIVEN = "given"
"""Built-in step: wait until the fault that is injected at a point has struck."""

TOGETHER = "together"
"""Built-in step: run several actors at the same time, each of one step or of a list of them."""

STEPS = "steps"
"""Built-in step, inside ``together``: an actor that performs a list of steps."""

START, RESTART, KILL = "start", "restart", "kill"
"""Built-in steps: what is done to the services that match a pattern, from outside."""

ON_SERVICE = (START, RESTART, KILL)


class Phase(StrEnum):
    """The parts of a plan in which a fault may strike."""

    DURING = "during"
    RECOVER = "recover"
    THEN = "then"


class Model(BaseModel):
    """Base of every part of a plan: immutable, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Location(Model):
    """Where a fault strikes: before or after a point, optionally only for one service or actor.

    In YAML either ``before hypervisor.start`` or a mapping
    ``{before: hypervisor.start, service: compute-host1, actor: first, occurrence: 2}``.
    """

    when: When
    point: Annotated[str, Word(Named.POINT)]
    service: Annotated[str, Word(Named.SERVICE)] = Field(
        "", description="only in this service (a shell pattern)"
    )
    actor: Annotated[str, Word(Named.ACTOR)] = Field(
        "", description="only while serving the step with this `as` label"
    )
    occurrence: StrictInt = Field(1, ge=1, description="the n-th time that all of this is true")
    raised: StrictBool = Field(False, description="after: the call raised, instead of returning")

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, str):
            when, _, point = value.strip().partition(" ")
            if point.strip() and when not in {*When}:
                raise PydanticCustomError(
                    "location", "`{value}` is no location; {hint}",
                    {"value": value, "hint": nearest(when, When)},
                )  # fmt: skip
            if not point.strip():
                raise PydanticCustomError(
                    "location", "`{value}` is no location; write `before POINT` or `after POINT`",
                    {"value": value},
                )  # fmt: skip
            return handler({"when": When(when), "point": point.strip()})
        if isinstance(value, Mapping) and "when" not in value:
            sides = [when for when in When if when in value]
            fields = [*When, *(name for name in cls.model_fields if name not in {"when", "point"})]
            unknown = [str(key) for key in value if key not in {*fields, "point"}]
            if not sides and unknown:
                raise PydanticCustomError(
                    "location", "there is no field `{name}`; {hint}",
                    {"name": unknown[0], "hint": nearest(unknown[0], fields)},
                )  # fmt: skip
            if len(sides) != 1 or "point" in value:
                raise PydanticCustomError(
                    "location", "a location needs exactly one of `before: POINT`, `after: POINT`"
                )
            rest = {key: item for key, item in value.items() if key != sides[0]}
            return handler({"when": sides[0], "point": value[sides[0]], **rest})
        return handler(value)

    @model_serializer
    def _write(self) -> Any:
        extra = {
            name: value
            for name in ("service", "actor", "occurrence", "raised")
            if (value := getattr(self, name)) != type(self).model_fields[name].default
        }
        return {self.when.value: self.point, **extra} if extra else str(self)

    @property
    def place(self) -> str:
        """``before hypervisor.start``: what a step waits for that says ``reach``."""
        return f"{self.when} {self.point}"

    def __str__(self) -> str:
        """``before hypervisor.start``, ``after hypervisor.start raised``."""
        return f"{self.place} raised" if self.raised else self.place


class Step(Model):
    """One operation of the client, or a built-in one.

    In YAML ``server.delete: {server: vm}``, with ``as: first`` beside it to name the actor and
    ``allow: [404]`` to accept an answer that would otherwise turn the plan red. Built in are
    ``reach: POINT``, ``together: [actor, …]`` where an actor is a step or ``steps: [step, …]``, and
    ``start``, ``restart`` and ``kill: SERVICE``.
    """

    operation: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    label: str = ""
    allow: tuple[StrictInt, ...] = ()
    steps: tuple[Step, ...] = ()
    """The actors of ``together``, or the steps of an actor."""

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, str):
            return handler({"operation": value})
        if not isinstance(value, Mapping) or "operation" in value:
            return handler(value)
        rest = {key: item for key, item in value.items() if key not in {"as", "allow"}}
        if len(rest) != 1:
            raise PydanticCustomError(
                "step", "a step has one operation, such as `server.delete: {{server: vm}}`; "
                "this one has {count}", {"count": len(rest)},
            )  # fmt: skip
        operation, arguments = next(iter(rest.items()))
        common = {"operation": operation, "label": value.get("as", "")}
        if "allow" in value:
            common["allow"] = value["allow"]
        if operation in (TOGETHER, STEPS):
            return handler({**common, "steps": arguments})
        if operation == REACH:
            return handler({**common, "arguments": {"point": arguments}})
        if operation in ON_SERVICE:
            return handler({**common, "arguments": {"service": arguments}})
        if arguments is not None and not isinstance(arguments, Mapping):
            raise PydanticCustomError(
                "step", "`{operation}` takes its arguments as a mapping, such as "
                "`{{name: value}}`; only {built_in} take a word alone",
                {"operation": operation, "built_in": ", ".join((REACH, *ON_SERVICE))},
            )  # fmt: skip
        return handler({**common, "arguments": arguments or {}})

    @model_serializer
    def _write(self) -> Any:
        body: Any = self.arguments
        if self.operation in (TOGETHER, STEPS):
            body = [inner._write() for inner in self.steps]
        elif self.operation in (REACH, *ON_SERVICE):
            (body,) = self.arguments.values()
        written: dict[str, Any] = {self.operation: body}
        if self.label:
            written["as"] = self.label
        if self.allow:
            written["allow"] = list(self.allow)
        return self.operation if written == {self.operation: {}} else written

    def __str__(self) -> str:
        """``server.delete(server=vm)``, as a person would say it."""
        if self.operation in (TOGETHER, STEPS):
            inner = ", ".join(map(str, self.steps))
            named = f" as {self.label}" if self.label else ""
            return f"{self.operation}({inner}){named}"
        given = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.operation}({given})" + (f" as {self.label}" if self.label else "")


class Injection(Model):
    """A fault, and where it strikes. ``do`` is a fault's word, or one with arguments.

    In YAML ``do: crash`` or ``do: {delay: {seconds: 0.3}}``. ``in`` says in which part of the plan
    it waits (``phase`` in Python).
    """

    phase: Phase = Field(Phase.DURING, alias="in", description="in which part it may strike")
    at: Location | None = None
    do: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    within: StrictFloat = Field(
        0.0, ge=0, le=600,
        description="seconds in which it may be reached though nothing is under way (a timer)",
    )  # fmt: skip
    maybe: StrictBool = Field(
        False, description="the schedule decides whether it strikes: both are run"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, Mapping) and isinstance(value.get("do"), Mapping):
            if len(value["do"]) != 1:
                raise PydanticCustomError(
                    "injection", "`do` takes one fault, such as `delay: {{seconds: 0.3}}`"
                )
            word, arguments = next(iter(value["do"].items()))
            return handler({**value, "do": word, "arguments": arguments or {}})
        return handler(value)

    @model_serializer
    def _write(self) -> Any:
        do: Any = {self.do: self.arguments} if self.arguments else self.do
        written: dict[str, Any] = {} if self.phase is Phase.DURING else {"in": self.phase.value}
        written |= {"at": self.at, "do": do} if self.at else {"do": do}
        written |= {"within": self.within} if self.within else {}
        return written | ({"maybe": True} if self.maybe else {})

    def __str__(self) -> str:
        """``crash before hypervisor.start``."""
        return f"{self.do} {self.at}" if self.at else self.do


MOST_SCHEDULES = 1000
"""More than so many schedules of one plan are refused unless it asks for them."""


class Schedules(Model):
    """Which of the schedules of a plan are executed, where it leaves choices open.

    In YAML ``all`` (every one that makes a difference), a number for the first so many, a list of
    stated ones, or a mapping: ``{random: 100, seed: 7}``, ``{pct: 100, depth: 3}``,
    ``{every: 500}`` (also those that make no difference, at most 500).
    """

    all: StrictInt | None = Field(None, ge=1, description="every one that differs, at most so many")
    every: StrictInt | None = Field(None, ge=1, description="also those that differ in nothing")
    first: StrictInt | None = Field(None, ge=1, description="the first so many")
    random: StrictInt | None = Field(None, ge=1, description="so many at random")
    pct: StrictInt | None = Field(None, ge=1, description="so many by random priorities")
    stated: tuple[str, ...] | None = Field(None, min_length=1, description="these")
    seed: StrictInt = Field(0, ge=0)
    depth: StrictInt = Field(3, ge=1, description="of pct: how many events must come in one order")

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        match value:
            case "all":
                return handler({"all": MOST_SCHEDULES})
            case int() if not isinstance(value, bool):
                return handler({"first": value})
            case str():
                return handler({"stated": [value]})
            case list() | tuple():
                return handler({"stated": value})
        return handler(value)

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = ("all", "every", "first", "random", "pct", "stated")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise PydanticCustomError(
                "schedules", "give exactly one of {kinds}", {"kinds": ", ".join(kinds)}
            )
        return self

    @model_serializer
    def _write(self) -> Any:
        if self.all == MOST_SCHEDULES:
            return "all"
        if self.first is not None:
            return self.first
        if self.stated is not None:
            return list(self.stated)
        fields = type(self).model_fields
        values = {name: getattr(self, name) for name in fields}
        return {name: v for name, v in values.items() if v != fields[name].default}


_NAME = re.compile(r"[\w.-]+")

_Rows = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: ((value,) if value else ()) if isinstance(value, str) else value),
    PlainSerializer(lambda rows: rows[0] if len(rows) == 1 else list(rows)),
]
"""One word, or a list of them."""


class Plan(Model):
    """A whole fault plan; see the module's docstring and ``docs/plans.md``."""

    name: str = Field(alias="plan", pattern=r"^[a-z0-9][a-z0-9-]*$", description="unique, a-z0-9-")
    title: str = Field("", description="one line: what happens, for a person")
    scenario: _Rows = Field((), description="the row it realizes, e.g. S3.1, or several")
    source: str = Field("", description="where it comes from, e.g. LP#1072751")
    target: str = Field("", description="the target it is for; empty: any")
    given: tuple[Step, ...] = Field((), description="the world before, made by the client")
    during: tuple[Step, ...] = Field(min_length=1, description="what happens while faults strike")
    inject: tuple[Injection, ...] = Field(min_length=1, description="the faults, and where")
    recover: tuple[Step, ...] | None = Field(
        None, description="what is brought back, in order; omitted: everything that is down"
    )
    then: tuple[Step, ...] = Field((), description="steps that must succeed once settled")
    invariants: tuple[str, ...] | None = Field(
        None, description="what must hold; omitted: all invariants of the target"
    )
    tolerant: StrictBool = Field(
        False, description="a step that fails is told, not judged: only the invariants are"
    )
    settle: StrictFloat | None = Field(
        None, ge=0.001, le=3600,
        description="seconds until everything is at rest; omitted: as the target says",
    )  # fmt: skip
    schedules: Schedules = Field(
        Schedules(all=MOST_SCHEDULES), description="which schedules are run; omitted: all"
    )
    repeat: StrictInt = Field(1, ge=1, le=100_000, description="how often each schedule is run")
    needs: tuple[str, ...] = Field(
        (), description="capabilities of the target without which it is skipped"
    )
    case: str = Field("", description="which case of a matrix this is; the matrix says it")
    bugs: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="bug switch → the invariants that must name the defect when it is on",
    )
    withstands: tuple[str, ...] = Field(
        (), description="bug switches with which it must pass all the same"
    )

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Self:
        labels = [step.label for step in self._every() if step.label]
        for label in dict.fromkeys(labels):
            if labels.count(label) > 1:
                raise PydanticCustomError(
                    "label", "two steps are called `{label}`", {"label": label}
                )
            if label in {*Phase}:  # a fault may wait for the end of either
                raise PydanticCustomError(
                    "label", "a step cannot be called `{label}`: a part of the plan is",
                    {"label": label},
                )  # fmt: skip
            if not _NAME.fullmatch(label):  # a schedule is text: `first second@api crash:first`
                raise PydanticCustomError(
                    "label", "a step cannot be called `{label}`: write letters, digits, `_`, `.`, "
                    "`-`", {"label": label},
                )  # fmt: skip
        return self

    @property
    def title_of_case(self) -> str:
        """``compute-dies``, or of a matrix ``compute-dies[before bdm.destroy]``."""
        return f"{self.name}[{self.case}]" if self.case else self.name

    def actors(self, phase: Phase = Phase.DURING) -> Iterator[Step]:
        """Each step of a phase by itself, and each actor of its ``together``."""
        for step in getattr(self, phase.value) or ():
            yield from step.steps or (step,)

    def operations(self, *sections: str) -> Iterator[Step]:
        """Every single step of these sections (default: ``during``), in order of mention."""
        for section in sections or ("during",):
            yield from (s for s in self._every(section) if s.operation not in (TOGETHER, STEPS))

    def _every(self, *sections: str) -> Iterator[Step]:
        for section in sections or ("given", *Phase):
            for step in getattr(self, section) or ():
                yield from _nested(step)

    def document(self) -> dict[str, Any]:
        """The plan in its YAML shape, without what is default."""
        whole: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return whole


def _nested(step: Step) -> Iterator[Step]:
    yield step
    for inner in step.steps:
        yield from _nested(inner)


def step(operation: str, *, label: str = "", allow: tuple[int, ...] = (), **arguments: Any) -> Step:
    """A step in Python: ``step("server.delete", server="vm", label="first")``."""
    return Step(operation=operation, arguments=arguments, label=label, allow=allow)


def together(*actors: Step) -> Step:
    """Several actors at the same time: steps, or lists of steps made by :func:`actor`."""
    return Step(operation=TOGETHER, steps=actors)


def actor(label: str, *steps: Step) -> Step:
    """An actor of ``together`` that performs several steps, one after the other."""
    return Step(operation=STEPS, label=label, steps=steps)


def start(service: str) -> Step:
    """Start the services that match a shell pattern, where they are down."""
    return Step(operation=START, arguments={"service": service})


def restart(service: str) -> Step:
    """Kill the services that match a shell pattern, and start them."""
    return Step(operation=RESTART, arguments={"service": service})


def kill(service: str) -> Step:
    """Kill the services that match a shell pattern."""
    return Step(operation=KILL, arguments={"service": service})


def reach(point: str) -> Step:
    """Wait until the fault injected at ``point`` has struck: ``reach("before bdm.destroy")``."""
    return Step(operation=REACH, arguments={"point": point})


def inject(
    do: str,
    at: str | Mapping[str, Any] | Location | None = None,
    *,
    phase: Phase | str = Phase.DURING,
    within: float = 0.0,
    maybe: bool = False,
    **arguments: Any,
) -> Injection:
    """A fault in Python: ``inject("delay", at="before bdm.destroy", seconds=0.3)``."""
    location = None if at is None else Location.model_validate(at)
    return Injection(
        phase=Phase(phase), at=location, do=do, arguments=arguments, within=within, maybe=maybe
    )
