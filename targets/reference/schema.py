"""Read what a client sends: a schema for each body, and Nova's words for what is wrong with it."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from targets.reference.web import HttpError, Request


class Schema(BaseModel):
    """A body, or a part of one. A field that it does not name is an error, as in Nova."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


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


def _complaint(error: ValidationError, name: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = [str(part) for part in first["loc"]]
    value = "" if first["type"] == "missing" else f" Value: {str(first['input'])[:255]}."
    return f"Invalid input for field/attribute {'.'.join(where) or name}.{value} {first['msg']}"
