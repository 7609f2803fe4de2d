"""Binding a plan to a target's vocabulary: every word in it is looked up before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from inspect import Parameter
from typing import Any

from pydantic import ValidationError

from chaos.errors import PlanError, nearest
from chaos.fault import Fault
from chaos.invariant import BUILT_IN, Invariant
from chaos.language.catalogue import Vocabulary
from chaos.plan import REACH, TOGETHER, Injection, Location, Plan, Step

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a plan; ``path`` leads to it in the plan's YAML shape."""

    path: Path
    message: str


class UnboundPlan(PlanError):
    """A plan uses words that its target does not have; ``problems`` has each with its place."""

    def __init__(self, plan: str, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(f"plan `{plan}`, {_dotted(p.path)}: {p.message}" for p in problems)
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A plan whose every word is known: ready to run."""

    plan: Plan
    faults: tuple[tuple[Injection, Fault], ...]
    invariants: tuple[Invariant, ...]


def bind(plan: Plan, words: Vocabulary) -> BoundPlan:
    """Look up every name in ``plan``.

    Raises:
        UnboundPlan: names every unknown point, service, fault, invariant, operation, argument,
            actor and bug switch, with the nearest that exists.
    """
    problems: list[Problem] = []
    faults: list[tuple[Injection, Fault]] = []
    for index, injection in enumerate(plan.inject):
        path: Path = ("inject", index)
        if injection.at is not None:
            problems.extend(_check_location(injection.at, (*path, "at"), plan, words))
        fault = _fault(injection, path, words, problems)
        if fault is None:
            continue
        problems.extend(_check_references(fault, (*path, "do", injection.do), plan, words))
        faults.append((injection, fault))
    for section in ("given", "during", "then"):
        for index, step in enumerate(getattr(plan, section)):
            path = (section, index)
            problems.extend(_check_step(step, path, plan, words, _BUILT_IN_STEPS[section]))
    for index, recovery in enumerate(plan.recover or ()):
        problems.extend(_check_service(recovery.service, ("recover", index), words))
    invariants = _invariants(plan, words, problems)
    problems.extend(_check_bugs(plan, words))
    if problems:
        raise UnboundPlan(plan.name, problems)
    return BoundPlan(plan, tuple(faults), invariants)


def _fault(
    injection: Injection, path: Path, words: Vocabulary, problems: list[Problem]
) -> Fault | None:
    model = words.faults.get(injection.do)
    if model is None:
        problems.append(
            Problem(
                (*path, "do", injection.do),
                f"there is no fault `{injection.do}`; {nearest(injection.do, words.faults)}",
            )
        )
        return None
    if model.located is not None and model.located != (injection.at is not None):
        need = (
            "needs an `at`: say before or after which point" if model.located else "takes no `at`"
        )
        problems.append(Problem((*path, "do"), f"the fault `{injection.do}` {need}"))
        return None
    try:
        return model.model_validate(injection.arguments)
    except ValidationError as error:
        problems.extend(
            Problem(
                (*path, "do", injection.do, *item["loc"]),
                explain(item, tuple(model.model_fields)),
            )
            for item in telling(error)
        )
        return None


def telling(error: ValidationError) -> list[Mapping[str, Any]]:
    """The errors that say something: a misspelt field is also a missing one, which does not."""
    every: list[Mapping[str, Any]] = [*error.errors()]
    telling = [item for item in every if item["type"] not in {"missing", "too_short"}]
    return telling or every


def explain(error: Mapping[str, Any], fields: Sequence[str]) -> str:
    """One of pydantic's errors as a sentence, with the nearest of ``fields`` for a wrong name."""
    word = str(error["loc"][-1]) if error["loc"] else ""
    match error["type"]:
        case "extra_forbidden":
            return f"there is no field `{word}`; {nearest(word, fields)}"
        case "missing":
            return f"the field `{word}` is missing"
        case "too_short":
            return f"`{word}` must not be empty"
    message = _SHAPES.get(error["type"]) or str(error["msg"])
    message = message.replace("Input should be", "must be", 1)
    return f"`{word}`: {message}" if word else message


_SHAPES = {
    "tuple_type": "must be a list, such as `[…]` or lines that start with `-`",
    "dict_type": "must be a mapping, such as `{name: value}`",
    "model_type": "must be a mapping, such as `{name: value}`",
    "string_type": "must be a word",
    "string_pattern_mismatch": "may have only a-z, 0-9 and `-`, as in `kill-compute-mid-reboot`",
}
"""Kind of pydantic's error → what it says to who writes YAML."""


def _check_location(at: Location, path: Path, plan: Plan, words: Vocabulary) -> Iterator[Problem]:
    yield from _check_point(at.point, path, words)
    if at.service:
        yield from _check_service(at.service, (*path, "service"), words)
    if at.actor:
        yield from _check_actor(at.actor, (*path, "actor"), plan)


def _check_point(point: str, path: Path, words: Vocabulary) -> Iterator[Problem]:
    if point not in words.target.points:
        yield Problem(
            path,
            f"target `{words.target.name}` has no point `{point}`; "
            f"{nearest(point, words.target.points)} (`chaos points` lists them)",
        )


def _check_service(pattern: str, path: Path, words: Vocabulary) -> Iterator[Problem]:
    services = words.target.services
    if not any(fnmatchcase(name, pattern) for name in services):
        yield Problem(
            path,
            f"target `{words.target.name}` has no service `{pattern}`; "
            f"{nearest(pattern, services)}",
        )


def _check_actor(actor: str, path: Path, plan: Plan) -> Iterator[Problem]:
    labels = [step.label for step in plan.steps() if step.label]
    if actor not in labels:
        hint = nearest(actor, labels) if labels else "give a step in `during` an `as: LABEL`"
        yield Problem(path, f"no step in `during` is called `{actor}`; {hint}")


def _check_references(fault: Fault, path: Path, plan: Plan, words: Vocabulary) -> Iterator[Problem]:
    for inner, kind, name in fault.references():
        where = (*path, *inner)
        match kind:
            case "point":
                yield from _check_point(name, where, words)
            case "service":
                yield from _check_service(name, where, words)
            case "actor":
                yield from _check_actor(name, where, plan)
            case _:
                steps = {word for s in plan.steps() for word in (s.operation, s.label) if word}
                if name not in steps:
                    yield Problem(
                        where, f"`during` has no step `{name}`; {nearest(name, steps)}"
                    )  # fmt: skip


_BUILT_IN_STEPS = {"given": (), "during": (TOGETHER, REACH), "then": (TOGETHER,)}
"""Where the built-in steps mean something: faults can be reached only while they are armed."""


def _check_step(
    step: Step, path: Path, plan: Plan, words: Vocabulary, built_in: Sequence[str]
) -> Iterator[Problem]:
    if step.operation in (TOGETHER, REACH) and step.operation not in built_in:
        place = f"inside `{TOGETHER}`" if TOGETHER in path else f"in `{path[0]}`"
        yield Problem((*path, step.operation), f"`{step.operation}` cannot stand {place}")
        return
    if step.operation == TOGETHER:
        for index, inner in enumerate(step.together):
            yield from _check_step(inner, (*path, TOGETHER, index), plan, words, ())
        return
    if step.operation == REACH:
        point = str(step.arguments.get("point", ""))
        places = [str(injection.at) for injection in plan.inject if injection.at]
        if point not in places:
            yield Problem(
                (*path, REACH), f"nothing is injected at `{point}`; {nearest(point, places)}"
            )
        return
    operation = words.target.operations.get(step.operation)
    if operation is None:
        yield Problem(
            (*path, step.operation),
            f"target `{words.target.name}` has no operation `{step.operation}`; "
            f"{nearest(step.operation, [*words.target.operations, TOGETHER, REACH])}",
        )
        return
    parameters = operation.parameters
    unknown = [name for name in step.arguments if name not in parameters]
    for name in unknown:
        yield Problem(
            (*path, step.operation, name),
            f"`{step.operation}` has no argument `{name}`; {nearest(name, parameters)}",
        )
    for name, parameter in parameters.items():
        needed = parameter.default is Parameter.empty and name not in step.arguments
        if needed and not unknown:
            yield Problem(
                (*path, step.operation), f"`{step.operation}` needs the argument `{name}`"
            )


def _invariants(plan: Plan, words: Vocabulary, problems: list[Problem]) -> tuple[Invariant, ...]:
    if plan.invariants is None:
        return tuple(words.invariants.values())
    chosen = []
    for index, name in enumerate(plan.invariants):
        if name in words.invariants:
            chosen.append(words.invariants[name])
        elif name not in BUILT_IN:
            problems.append(Problem(("invariants", index), _no_invariant(name, words)))
    return tuple(chosen)


def _no_invariant(name: str, words: Vocabulary) -> str:
    return f"there is no invariant `{name}`; {nearest(name, [*words.invariants, *BUILT_IN])}"


def _check_bugs(plan: Plan, words: Vocabulary) -> Iterator[Problem]:
    for bug, violated in plan.bugs.items():
        if bug not in words.target.bugs:
            yield Problem(
                ("bugs", bug),
                f"target `{words.target.name}` has no bug switch `{bug}`; "
                f"{nearest(bug, words.target.bugs)}",
            )
        if not violated:
            yield Problem(("bugs", bug), "name the invariants that must see this bug")
        for index, name in enumerate(violated):
            if name not in words.invariants and name not in BUILT_IN:
                yield Problem(("bugs", bug, index), _no_invariant(name, words))


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "top level"
