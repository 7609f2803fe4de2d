"""The arguments of operations and faults: of the right types, and which of them name something."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from inspect import Parameter
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_json

from chaos.errors import PlanError
from chaos.language.problem import Path, Problem, in_arguments
from chaos.operation import Operation
from chaos.plan import ON_SERVICE, REACH, Location, Model
from chaos.words import Named, Word

M = TypeVar("M", bound=BaseModel)


class Reach(Model):
    """Arguments of ``reach``; that something is injected there is checked when it is bound."""

    point: str


class OnService(Model):
    """Arguments of ``start``, ``restart`` and ``kill``."""

    service: Annotated[str, Word(Named.SERVICE)]


BUILT_IN: Mapping[str, type[Model]] = {REACH: Reach, **dict.fromkeys(ON_SERVICE, OnService)}


@dataclass(frozen=True, slots=True)
class Mention:
    """An argument that names something; ``path`` leads to it among the arguments."""

    word: Word
    name: str
    path: Path


@cache
def model_of(operation: Operation) -> type[BaseModel]:
    """The arguments of an operation as a model whose fields are named by their aliases.

    Raises:
        PlanError: its annotations cannot be read; says which operation it is.
    """
    try:
        types = operation.types
        fields: dict[str, Any] = {
            # A field must not be called like something that every model has, such as `copy`.
            f"argument_{name}": (
                types[name],
                Field(
                    ... if parameter.default is Parameter.empty else parameter.default, alias=name
                ),
            )
            for name, parameter in operation.parameters.items()
        }
        return create_model(
            operation.name,
            __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True),
            **fields,
        )
    except (NameError, TypeError) as error:
        raise PlanError(
            f"the annotations of the operation `{operation.name}` cannot be read: {error}"
        ) from error


def names_of(model: type[BaseModel]) -> tuple[str, ...]:
    """What a plan calls the arguments."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def read(model: type[M], arguments: Mapping[str, Any], owner: str) -> M | tuple[Problem, ...]:
    """The arguments as their model has them, or what is wrong with them.

    Types are taken as JSON has them: a list may become a tuple, and a whole number a ``float``;
    nothing else becomes what it is not (``"maybe"`` no truth, ``true`` no number).
    """
    try:
        return model.model_validate_json(to_json(arguments, inf_nan_mode="constants"), strict=True)
    except PydanticSerializationError:
        return (Problem((), f"the arguments of `{owner}` must be plain values, as JSON has them"),)
    except ValidationError as error:
        return tuple(in_arguments(error, arguments, names_of(model), owner))


def kinds_made(model: type[BaseModel]) -> set[str]:
    """The kinds of thing that an operation with these arguments makes."""
    return {
        mark.kind
        for field in model.model_fields.values()
        for mark in _marks((*field.metadata, field.annotation))
        if mark.makes
    }


def _marks(parts: Collection[Any]) -> Iterator[Word]:
    for part in parts:
        if isinstance(part, Word):
            yield part
        yield from _marks(get_args(part))


def mentions(model: BaseModel) -> Iterator[Mention]:
    """Every name in the arguments that a :class:`~chaos.words.Word` marks, however deep."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not value and value == field.default:
            continue  # an empty default means: none
        key = field.alias or name
        if isinstance(model, Location) and name == "point":
            key = model.when.value
        yield from _inside(value, field.annotation, _marked(field.metadata), (key,))


def _marked(metadata: Collection[Any], outer: Word | None = None) -> Word | None:
    return next((mark for mark in metadata if isinstance(mark, Word)), outer)


def _inside(value: Any, annotation: Any, word: Word | None, path: Path) -> Iterator[Mention]:
    """The names in one value; ``word`` marks whatever text is in it, unless an inner mark does."""
    if isinstance(value, BaseModel):
        for found in mentions(value):
            yield Mention(found.word, found.name, (*path, *found.path))
        return
    origin, options = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _inside(value, options[0], _marked(options[1:], word), path)
    elif origin in (Union, UnionType):
        literal = [get_args(option) for option in options if get_origin(option) is Literal]
        if not any(value in values for values in literal):
            every = [found for option in options for found in _inside(value, option, word, path)]
            yield from dict.fromkeys(every)
    elif is_typeddict(annotation) or is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        for name, hint in hints.items():
            inner = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
            yield from _inside(inner, hint, word, (*path, name))
    elif isinstance(value, str):
        if word and (annotation is Any or annotation is str or origin is None):
            yield Mention(word, value, path)
    elif isinstance(value, Mapping) and len(options) == 2:
        for key, inner in value.items():
            yield from _inside(key, options[0], word, (*path, key))
            yield from _inside(inner, options[1], word, (*path, key))
    elif isinstance(value, Collection) and options:
        each = origin is not tuple or options[-1] is ...
        for index, inner in enumerate(value):
            yield from _inside(inner, options[0 if each else index], word, (*path, index))
