"""Read what a client sends: a schema for each body, and Nova's words for what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from targets.reference.web import HttpError, Request

MAX_INT = 0x7FFFFFFF
_TRUE = ("True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t")
_FALSE = ("False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f")


class Schema(BaseModel):
    """A body, or a part of one. A field that it does not name is an error, as in Nova."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _integer(given: Any) -> Any:
    if isinstance(given, str) and re.fullmatch(r"-?[0-9]{1,18}", given):
        return int(given)
    return given


def _boolean(given: Any) -> Any:
    if isinstance(given, str):
        return True if given in _TRUE else False if given in _FALSE else given
    return bool(given) if given in (0, 1) else given


def _printable(given: Any) -> Any:
    if isinstance(given, str) and not given.isprintable():
        raise ValueError("only printable characters are allowed")
    return given


def _trimmed(given: Any) -> Any:
    if isinstance(given, str) and (given != given.strip() or not given):
        raise ValueError("it can neither be empty nor begin or end with a space")
    return given


Count = Annotated[int, BeforeValidator(_integer), Field(ge=0, le=MAX_INT)]
"""How many: a whole number, which may be sent as text."""
Positive = Annotated[int, BeforeValidator(_integer), Field(ge=1, le=MAX_INT)]
"""The same, but none is too few."""
Limit = Annotated[int, BeforeValidator(_integer), Field(ge=-1, le=MAX_INT)]
"""The most that there may be; -1: as many as there are."""
Boolean = Annotated[bool, BeforeValidator(_boolean)]
"""A truth, which may be sent as text."""
Name = Annotated[
    str, BeforeValidator(_printable), BeforeValidator(_trimmed), Field(min_length=1, max_length=255)
]
"""What something is called by its user."""
Text255 = Annotated[str, Field(max_length=255)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9\-_:. ]{1,255}$")]
"""A key of metadata."""
Metadata = dict[Key, Text255]
Uuid = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"
    ),
]


S = TypeVar("S", bound=Schema)


def read(schema: type[S], given: Any, name: str) -> S:
    """Read ``given``, which the client calls ``name``.

    Raises:
        HttpError: 400, it is not as the schema says.
    """
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise HttpError(400, _complaint(error, name)) from None


def read_body(schema: type[S], request: Request, name: str) -> S:
    """Read the object called ``name`` in the body; anything beside it is an error.

    Raises:
        HttpError: 400, it is not as the schema says.
    """
    body = request.body
    if not isinstance(body, dict) or name not in body:
        raise HttpError(
            400, f"Invalid input for field/attribute {name}. '{name}' is a required property"
        )
    if len(body) > 1:
        others = sorted(key for key in body if key != name)
        raise HttpError(400, f"Additional properties are not allowed ({others} were unexpected)")
    return read(schema, body[name], name)


def read_query(request: Request, name: str, convert: Callable[[str], Any], default: Any) -> Any:
    """Read one parameter of the query.

    Raises:
        HttpError: 400, ``convert`` raised a ValueError.
    """
    given = request.query.get(name)
    if given is None:
        return default
    try:
        return convert(given)
    except ValueError:
        raise HttpError(
            400, f"Invalid input for query parameters {name}. Value: {unquote(given)[:255]}."
        ) from None


def as_boolean(given: str) -> bool:
    """Read a truth as it stands in a query.

    Raises:
        ValueError: it is none.
    """
    found = _boolean(given)
    if not isinstance(found, bool):
        raise ValueError(given)
    return found


def _complaint(error: ValidationError, name: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = [str(part) for part in first["loc"]]
    value = "" if first["type"] == "missing" else f" Value: {str(first['input'])[:255]}."
    return f"Invalid input for field/attribute {'.'.join(where) or name}.{value} {first['msg']}"
