"""The JSON Schema of plan files, for editors and for checks in other languages.

With a target's vocabulary it also knows that target's operations with their arguments, points,
faults, invariants and bug switches; without one any word is allowed in their place.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import Parameter
from typing import Any

from chaos.invariant import BUILT_IN
from chaos.language.catalogue import Vocabulary
from chaos.plan import REACH, TOGETHER, Plan
from chaos.point import When

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def plan_schema(words: Vocabulary | None = None) -> dict[str, Any]:
    """The schema of one plan document."""
    plan = Plan.model_json_schema(by_alias=True)
    described = {name: field.get("description") for name, field in plan["properties"].items()}
    together = {"type": "array", "items": _ref("operation"), "minItems": 2}
    concurrent = _object({TOGETHER: together}, required=[TOGETHER])
    reach = _object({REACH: _ref("place")}, required=[REACH])
    properties: dict[str, Any] = {
        "plan": {"type": "string", "pattern": plan["properties"]["plan"]["pattern"]},
        "title": {"type": "string"},
        "scenario": {"type": "string"},
        "source": {"type": "string"},
        "target": {"type": "string"},
        "given": _steps(),
        "during": {**_steps(concurrent, reach), "minItems": 1},
        "inject": {"type": "array", "minItems": 1, "items": _ref("injection")},
        "recover": {"type": "array", "items": _ref("recovery")},
        "then": _steps(concurrent),
        "invariants": {"type": "array", "items": _ref("invariant")},
        "settle": {"type": "number", "exclusiveMinimum": 0, "maximum": 600, "default": 10},
        "bugs": {
            "type": "object",
            "propertyNames": _word(words.target.bugs if words else ()),
            "additionalProperties": {"type": "array", "items": _ref("invariant"), "minItems": 1},
        },
    }
    for name, text in described.items():
        if text:
            properties[name]["description"] = text
    return {
        "$schema": DIALECT,
        "title": "Fault plan",
        "type": "object",
        "additionalProperties": False,
        "required": plan["required"],
        "properties": properties,
        "$defs": {
            "point": _word(words.target.points if words else ()),
            "invariant": _word([*words.invariants, *BUILT_IN] if words else ()),
            "place": _place(words),
            "location": _location(),
            "operation": _operation(words),
            "injection": _injection(words),
            "recovery": {
                "oneOf": [
                    _object({verb: {"type": "string"}}, required=[verb])
                    for verb in ("start", "restart")
                ]
            },
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _word(valid: Iterable[str]) -> dict[str, Any]:
    names = sorted(valid)
    return {"type": "string", "enum": names} if names else {"type": "string"}


def _object(properties: dict[str, Any], *, required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _place(words: Vocabulary | None) -> dict[str, Any]:
    if words is None:
        return {"type": "string", "pattern": "^(before|after) [^ ]+$"}
    points = sorted(words.target.points)
    return {"enum": [f"{when} {point}" for point in points for when in When]}


def _location() -> dict[str, Any]:
    filters = {
        "service": {"type": "string"},
        "actor": {"type": "string"},
        "occurrence": {"type": "integer", "minimum": 1},
    }
    sides = [_object({when: _ref("point"), **filters}, required=[when]) for when in When]
    return {"oneOf": [_ref("place"), *sides]}


def _steps(*built_in: dict[str, Any]) -> dict[str, Any]:
    items = {"oneOf": [_ref("operation"), *built_in]} if built_in else _ref("operation")
    return {"type": "array", "items": items}


def _operation(words: Vocabulary | None) -> dict[str, Any]:
    common = {
        "as": {"type": "string", "description": "name of this actor"},
        "allow": {"type": "array", "items": {"type": "integer"}, "description": "status codes"},
    }
    if words is None:
        mapping = {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"not": {"enum": [TOGETHER, REACH]}},
        }
        return {"oneOf": [{"type": "string"}, mapping]}
    bare, mapped = [], []
    for name, operation in words.target.operations.items():
        needed = [
            argument
            for argument, parameter in operation.parameters.items()
            if parameter.default is Parameter.empty
        ]
        arguments: dict[str, Any] = dict.fromkeys(operation.parameters, True)
        step = _object({name: _object(arguments, required=needed), **common}, required=[name])
        step["description"] = operation.summary
        mapped.append(step)
        if not needed:
            bare.append(name)
    return {"oneOf": [{"enum": bare}, *mapped] if bare else mapped}


def _injection(words: Vocabulary | None) -> dict[str, Any]:
    at = _ref("location")
    if words is None:
        any_fault = {"oneOf": [{"type": "string"}, {"type": "object", "maxProperties": 1}]}
        return _object({"at": at, "do": any_fault}, required=["do"])
    kinds = []
    for name, model in words.faults.items():
        arguments = model.model_json_schema()
        fields = _with_our_locations(arguments.get("properties", {}))
        required = arguments.get("required", [])
        do: dict[str, Any] = _object({name: _object(fields, required=required)}, required=[name])
        if not required:
            do = {"oneOf": [{"const": name}, do]}
        kind = _object(
            {"at": at, "do": do} if model.located is not False else {"do": do},
            required=["at", "do"] if model.located else ["do"],
        )
        kind["description"] = (model.__doc__ or "").partition("\n")[0]
        kinds.append(kind)
    return {"oneOf": kinds}


def _with_our_locations(node: Any) -> Any:
    """Pydantic describes a location's fields; in a plan it has a form of its own."""
    if isinstance(node, dict):
        if node.get("$ref") == "#/$defs/Location":
            return _ref("location")
        return {key: _with_our_locations(value) for key, value in node.items()}
    return [_with_our_locations(item) for item in node] if isinstance(node, list) else node
