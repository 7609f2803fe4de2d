"""The fault plan: what is given, what happens, which fault strikes where, and what must hold.

One model with two faces: Python (this module's classes, and the short builders at its end) and
YAML (:mod:`chaos.language`, with a JSON Schema). The YAML form is the model's own serialized form,
so what a plan prints can be run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from chaos.point import When

REACH = "reach"
"""Built-in step: wait until the fault that is injected at a point has struck."""

TOGETHER = "together"
"""Built-in step: run several steps at the same time, each as an actor of its own."""


class Model(BaseModel):
    """Base of every part of a plan: immutable, and strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Location(Model):
    """Where a fault strikes: before or after a point, optionally only for one service or actor.

    In YAML either ``before hypervisor.start`` or a mapping
    ``{before: hypervisor.start, service: compute-host1, actor: first, occurrence: 2}``.
    """

    when: When
    point: str
    service: str = Field("", description="only in this service (a shell pattern)")
    actor: str = Field("", description="only while serving the step with this `as` label")
    occurrence: int = Field(1, ge=1, description="the n-th time that all of this is true")

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, str):
            when, _, point = value.strip().partition(" ")
            if when not in {*When} or not point.strip():
                raise PydanticCustomError(
                    "location", "`{value}` is no location; write `before POINT` or `after POINT`",
                    {"value": value},
                )  # fmt: skip
            return handler({"when": when, "point": point.strip()})
        if isinstance(value, Mapping) and "when" not in value:
            sides = [when for when in When if when in value]
            if len(sides) != 1:
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
            for name in ("service", "actor", "occurrence")
            if (value := getattr(self, name)) != type(self).model_fields[name].default
        }
        return {self.when.value: self.point, **extra} if extra else str(self)

    def __str__(self) -> str:
        """``before hypervisor.start``."""
        return f"{self.when} {self.point}"


class Step(Model):
    """One operation of the client, or a built-in: ``reach`` a point, several steps ``together``.

    In YAML ``server.delete: {server: vm}``, with ``as: first`` beside it to name the actor and
    ``allow: [404]`` to accept an answer that would otherwise turn the plan red.
    """

    operation: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    label: str = ""
    allow: tuple[int, ...] = ()
    together: tuple[Step, ...] = ()

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
        if operation == TOGETHER:
            return handler({**common, "together": arguments})
        if operation == REACH:
            return handler({**common, "arguments": {"point": arguments}})
        return handler({**common, "arguments": {} if arguments is None else arguments})

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        whole = handler(self)
        body: Any = self.arguments
        if self.operation == TOGETHER:
            body = whole["together"]
        elif self.operation == REACH:
            body = self.arguments["point"]
        written: dict[str, Any] = {self.operation: body}
        if self.label:
            written["as"] = self.label
        if self.allow:
            written["allow"] = list(self.allow)
        return self.operation if written == {self.operation: {}} else written

    def __str__(self) -> str:
        """``server.delete(server=vm)``, as a person would say it."""
        if self.operation == TOGETHER:
            return f"together({', '.join(map(str, self.together))})"
        given = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.operation}({given})" + (f" as {self.label}" if self.label else "")


class Injection(Model):
    """A fault, and where it strikes. ``do`` is a fault's word, or one with arguments.

    In YAML ``do: crash`` or ``do: {delay: {seconds: 0.3}}``.
    """

    at: Location | None = None
    do: str
    arguments: dict[str, Any] = Field(default_factory=dict)

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
        return {"at": self.at, "do": do} if self.at else {"do": do}


class Recovery(Model):
    """Something an operator does after the fault: ``start`` or ``restart`` a service."""

    start: str = ""
    restart: str = ""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.start) == bool(self.restart):
            raise PydanticCustomError(
                "recovery", "a recovery step is `start: SERVICE` or `restart: SERVICE`"
            )
        return self

    @model_serializer
    def _write(self) -> Any:
        return {"start": self.start} if self.start else {"restart": self.restart}

    @property
    def service(self) -> str:
        """The service that is brought back."""
        return self.start or self.restart


class Plan(Model):
    """A whole fault plan; see the module's docstring and ``docs/plans.md``."""

    name: str = Field(alias="plan", pattern=r"^[a-z0-9][a-z0-9-]*$", description="unique, a-z0-9-")
    title: str = Field("", description="one line: what happens, for a person")
    scenario: str = Field("", description="the row it realizes, e.g. S3.1")
    source: str = Field("", description="where it comes from, e.g. LP#1072751")
    target: str = Field("", description="the target it is for; empty: any")
    given: tuple[Step, ...] = Field((), description="the world before, made by the client")
    during: tuple[Step, ...] = Field(min_length=1, description="what happens while faults strike")
    inject: tuple[Injection, ...] = Field(min_length=1, description="the faults, and where")
    recover: tuple[Recovery, ...] | None = Field(
        None, description="what is brought back, in order; omitted: everything that is down"
    )
    then: tuple[Step, ...] = Field((), description="steps that must succeed once settled")
    invariants: tuple[str, ...] | None = Field(
        None, description="what must hold; omitted: all invariants of the target"
    )
    settle: float = Field(10.0, gt=0, le=600, description="seconds until everything is at rest")
    bugs: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="bug switch → the invariants that must name the defect when it is on",
    )

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Self:
        labels = [step.label for step in self.steps() if step.label]
        for label in labels:
            if labels.count(label) > 1:
                raise PydanticCustomError(
                    "label", "two steps are called `{label}`", {"label": label}
                )
        return self

    def steps(self) -> Iterator[Step]:
        """Every operation of ``during``, those inside ``together`` included."""
        for step in self.during:
            yield from step.together or (step,)

    def document(self) -> dict[str, Any]:
        """The plan in its YAML shape, without what is default."""
        whole: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return whole


def step(operation: str, *, label: str = "", allow: tuple[int, ...] = (), **arguments: Any) -> Step:
    """A step in Python: ``step("server.delete", server="vm", label="first")``."""
    return Step(operation=operation, arguments=arguments, label=label, allow=allow)


def together(*steps: Step) -> Step:
    """Several steps at the same time, each an actor of its own."""
    return Step(operation=TOGETHER, together=steps)


def reach(point: str) -> Step:
    """Wait until the fault injected at ``point`` has struck: ``reach("before bdm.destroy")``."""
    return Step(operation=REACH, arguments={"point": point})


def inject(do: str, at: str | Location | None = None, **arguments: Any) -> Injection:
    """A fault in Python: ``inject("delay", at="before bdm.destroy", seconds=0.3)``."""
    location = Location.model_validate(at) if isinstance(at, str) else at
    return Injection(at=location, do=do, arguments=arguments)
