"""The JSON Schema of plan files, for editors and for checks in other languages.

It is made of the same annotations as the loader's checks: a target's vocabulary gives it that
target's operations and faults with their arguments, its points, services and invariants. Without
one any word is allowed in their place.

A validator's message names the wrong word and its place, because nothing here is a choice between
alternatives that must be tried one by one: a value's type, or a key that it has, says which schema
is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from chaos.fault import Fault
from chaos.invariant import BUILT_IN
from chaos.language import arguments
from chaos.language.catalogue import Vocabulary
from chaos.language.matrix import MOST_CASES, PLACEHOLDER
from chaos.operation import Operation
from chaos.plan import ON_SERVICE, REACH, STEPS, TOGETHER, Injection, Location, Plan, Schedules
from chaos.point import When
from chaos.words import MARK, Named

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def plan_schema(words: Vocabulary | None = None) -> Schema:
    """The schema of one plan document."""
    operations = words.target.operations if words else {}
    faults = words.faults if words else {}
    definitions: Schema = {
        "point": _word(words.target.points if words else ()),
        "service": _pattern_of(words.target.services if words else ()),
        "invariant": _word([*words.invariants, *BUILT_IN] if words else ()),
        "place": _place(words),
        "location": _location(),
        "operations": {
            "type": "object",
            "properties": {name: _operation(one) for name, one in operations.items()},
        },
        "given": _step(operations, ()),
        "step": _step(operations, (TOGETHER, REACH, *ON_SERVICE)),
        "actor": _step(operations, (STEPS, REACH, *ON_SERVICE)),
        "single": _step(operations, (REACH, *ON_SERVICE)),
        "injection": _injection(faults),
        "schedules": _schedules(),
        "matrix": _matrix(),
        "case": {"type": "string", "pattern": PLACEHOLDER},
    }
    plan = _generated(Plan)
    steps = {"given": "given", "during": "step", "recover": "step", "then": "step"}
    own: Schema = {
        **{section: _list(_ref(step)) for section, step in steps.items()},
        "inject": _list(_ref("injection")),
        "invariants": _list(_ref("invariant")),
        "bugs": {
            "type": "object",
            "additionalProperties": {**_list(_ref("invariant")), "minItems": 1},
        },
        "schedules": _ref("schedules"),
        "scenario": _by_type({"type": "string"}, _list({"type": "string"})),
    }
    properties: Schema = {"matrix": {**_ref("matrix"), "description": "many cases of one plan"}}
    for name, described in plan["properties"].items():
        kept = own.get(name, described)
        more = {key: described[key] for key in ("description", "minItems") if key in described}
        properties[name] = {**kept, **more}
    whole = {
        "$schema": DIALECT,
        "title": "Fault plan",
        **_closed(properties, required=plan["required"]),
        "$defs": definitions,
    }
    found: Schema = _with_cases(whole)
    return found


# ---------------------------------------------------------------------- shapes


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _word(valid: Iterable[str]) -> Schema:
    names = sorted(valid)
    return {"type": "string", "enum": names} if names else {"type": "string"}


def _pattern_of(valid: Iterable[str]) -> Schema:
    """One of the words, or a shell pattern over them."""
    names = sorted(valid)
    if not names:
        return {"type": "string"}
    return {"type": "string", "if": {"not": {"pattern": r"[*?\[]"}}, "then": {"enum": names}}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _closed(properties: Schema, *, required: Iterable[str] = (), **more: Any) -> Schema:
    """An object with these keys only; a wrong key is told before what is missing for it."""
    needed = list(required)
    return {
        "type": "object",
        "propertyNames": {"enum": list(properties)} if properties else False,
        "properties": properties,
        **({"required": needed} if needed else {}),
        **more,
    }


def _by_type(*options: Schema) -> Schema:
    """One schema for each JSON type; the type of a value says which one it must satisfy."""
    rules = [
        {"if": {"type": option["type"]}, "then": rest}
        for option in options
        if (rest := {key: value for key, value in option.items() if key != "type"})
    ]
    kinds = [kind for option in options for kind in _types(option)]
    return {"type": kinds, **({"allOf": rules} if rules else {})}


def _types(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


# ---------------------------------------------------------------------- parts of a plan


def _place(words: Vocabulary | None) -> Schema:
    if words is None:
        return {"type": "string", "pattern": f"^({'|'.join(When)}) [^ ]+$"}
    return _word(f"{when} {point}" for point in words.target.points for when in When)


def _location() -> Schema:
    fields = _generated(Location)["properties"]
    filters = {name: fields[name] for name in fields if name not in {"when", "point"}}
    before, after = sides = [when.value for when in When]
    mapping = _closed(
        {**dict.fromkeys(sides, _ref("point")), **filters},
    )
    mapping |= {
        "if": {"required": [before]},
        "then": {"properties": {after: False}},
        "else": {"required": [after]},
    }
    return _by_type({"type": "string", **_ref("place")}, mapping)


def _step(operations: Mapping[str, Operation], built_in: Sequence[str]) -> Schema:
    """A step, where these built-in ones may stand too."""
    bodies: Schema = {
        TOGETHER: {**_list(_ref("actor")), "minItems": 2},
        STEPS: {**_list(_ref("single")), "minItems": 1},
        REACH: _ref("place"),
        **dict.fromkeys(ON_SERVICE, _ref("service")),
    }
    properties: Schema = {
        **{name: bodies[name] for name in built_in},
        "as": {"type": "string", "description": "name of this actor"},
        "allow": {**_list({"type": "integer"}), "description": "status codes"},
    }
    bare = [name for name, one in operations.items() if not _operation(one).get("required")]
    absent = [name for name in bodies if name not in built_in]
    names: Schema = (
        {"enum": [*operations, *properties]} if operations else {"not": {"enum": absent}}
    )
    mapping = {
        **_ref("operations"),
        "type": "object",
        "propertyNames": names,
        "properties": properties,
        # Beside `as` and `allow` there is exactly one operation.
        **_one_more(("as", "allow")),
        "dependentSchemas": {
            name: {"propertyNames": {"enum": [name, *(["as"] if name != TOGETHER else [])]}}
            for name in built_in
        },
    }
    word = {"type": "string", **_word(bare)}
    return _by_type(word, mapping) if bare or not operations else mapping


def _one_more(beside: Sequence[str], count: int = 1) -> Schema:
    """An object has ``count`` keys, and those of ``beside`` that it has."""
    if not beside:
        return {"minProperties": count, "maxProperties": count}
    first, *rest = beside
    return {
        "if": {"required": [first]},
        "then": _one_more(rest, count + 1),
        "else": _one_more(rest, count),
    }


def _operation(operation: Operation) -> Schema:
    return {
        **_arguments(arguments.model_of(operation)),
        "description": operation.summary,
    }


def _arguments(model: type[BaseModel]) -> Schema:
    """The arguments of an operation or a fault; where none is needed, there may be nothing."""
    made = _generated(model)
    whole = _closed(made.get("properties", {}), required=made.get("required", ()))
    return whole if "required" in whole else _by_type({"type": "null"}, whole)


def _injection(faults: Mapping[str, type[Fault]]) -> Schema:
    fields = _generated(Injection)["properties"]
    kinds = {
        name: {
            **_arguments(model),
            "description": (model.__doc__ or "").strip().partition("\n")[0],
        }
        for name, model in faults.items()
    }
    bare = [name for name, kind in kinds.items() if "required" not in kind]
    known: Schema = {"propertyNames": {"enum": [*faults]}} if faults else {}
    mapping = {
        "type": "object",
        **known,
        "properties": kinds,
        "minProperties": 1,
        "maxProperties": 1,
    }
    word = {"type": "string", **_word(bare)}
    properties = {
        **{name: fields[name] for name in fields if name != "arguments"},
        "at": _ref("location"),
        "do": _by_type(word, mapping) if bare or not faults else mapping,
    }
    needing = [name for name, model in faults.items() if model.located is True]
    refusing = [name for name, model in faults.items() if model.located is False]
    return _closed(
        properties,
        required=["do"],
        allOf=[
            {"if": _does(needing), "then": {"required": ["at"]}},
            {"if": _does(refusing), "then": {"properties": {"at": False}}},
        ],
    )


def _does(faults: Sequence[str]) -> Schema:
    """Whether an injection's fault is one of these."""
    if not faults:
        return {"not": {}}
    either = [{"enum": [*faults]}, *({"type": "object", "required": [name]} for name in faults)]
    return {"properties": {"do": {"anyOf": either}}, "required": ["do"]}


def _schedules() -> Schema:
    fields = _generated(Schedules)["properties"]
    return _by_type(
        {"type": "string"},
        {"type": "integer", "minimum": 1},
        {**_list({"type": "string"}), "minItems": 1},
        _closed(fields, minProperties=1),
    )


def _matrix() -> Schema:
    key = {"propertyNames": {"pattern": f"^{PLACEHOLDER[1:-1]}$"}, "minProperties": 1}
    rows = {"type": "array", "minItems": 1, "maxItems": MOST_CASES}
    return _by_type(
        {"type": "object", **key, "additionalProperties": {"type": "array", "minItems": 1}},
        {**rows, "items": {"type": "object", **key}},
    )


# ---------------------------------------------------------------------- what pydantic generates


def _generated(model: type[BaseModel]) -> Schema:
    """Pydantic's schema of a model, in our words: without references to definitions of its own."""
    schema = model.model_json_schema(by_alias=True)
    found: Schema = _ours(schema, schema.pop("$defs", {}), None)
    return found


def _ours(schema: Any, definitions: Mapping[str, Any], kind: str | None) -> Any:
    """One of pydantic's schemas; ``kind`` is the word that whatever text is in it must be."""
    if not isinstance(schema, dict):
        return schema
    schema = {key: value for key, value in schema.items() if key not in {"title", "default"}}
    kind = schema.pop(MARK, kind)
    name = str(schema.pop("$ref", "")).rpartition("/")[2]
    if name == "Location":
        return {**schema, "type": ["string", "object"], **_ref("location")}
    if name in ("Schedules", "Step"):
        return {**schema, **_ref(name.lower())}
    if name:
        return {**_ours(definitions[name], definitions, kind), **schema}
    if schema.get("type") == "string" and kind in (Named.POINT, Named.SERVICE):
        return {**schema, **_ref(kind)}
    if schema.get("type") == "object" and schema.get("additionalProperties") is False:
        properties = {
            key: _ours(value, definitions, kind) for key, value in schema["properties"].items()
        }
        return _closed(properties, required=schema.get("required", ()))
    for key in ("items", "additionalProperties"):
        if key in schema:
            schema[key] = _ours(schema[key], definitions, kind)
    if "properties" in schema:
        schema["properties"] = {
            key: _ours(value, definitions, kind) for key, value in schema["properties"].items()
        }
    for key in ("prefixItems", "anyOf"):
        if key in schema:
            schema[key] = [_ours(value, definitions, kind) for value in schema[key]]
    return _without_choice(schema)


def _without_choice(schema: Schema) -> Schema:
    """A union, told by the type of the value where its members differ in type."""
    options = schema.get("anyOf", ())
    types = [kind for option in options for kind in _types(option)]
    mixed = len({*types}) != len(types) or {"integer", "number"} <= {*types}
    if not options or mixed or not all(map(_types, options)):
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **_by_type(*options)}


# ---------------------------------------------------------------------- cases of a matrix


def _with_cases(schema: Any) -> Any:
    """The same schema, where a value may be a word with a ``<name>`` of the matrix in it."""
    if not isinstance(schema, dict):
        return schema
    deep = dict(schema)
    for key in ("properties", "$defs", "dependentSchemas"):
        if key in deep:
            value = _or_case if key == "properties" else _with_cases
            deep[key] = {name: value(inner) for name, inner in deep[key].items()}
    for key in ("items", "additionalProperties"):
        if key in deep:
            deep[key] = _or_case(deep[key])
    for key in ("then", "else"):
        if key in deep:
            deep[key] = _with_cases(deep[key])
    if "allOf" in deep:
        deep["allOf"] = [_with_cases(inner) for inner in deep["allOf"]]
    return deep


def _or_case(schema: Any) -> Any:
    schema = _with_cases(schema)
    if not isinstance(schema, dict) or schema.keys() <= {"description"}:
        return schema
    if schema.get("type") == "string" and schema.keys() <= {"type", "description"}:
        return schema
    outside = {key: schema[key] for key in ("description",) if key in schema}
    inside = {key: value for key, value in schema.items() if key != "description"}
    return {**outside, "if": _ref("case"), "else": inside}
