"""The JSON Schema agrees with the loader, and says which word is wrong."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from chaos.errors import PlanError
from chaos.language.loader import find, load, parse
from chaos.language.schema import plan_schema
from tests.plans import system

ROOT = Path(__file__).parents[2]
SCHEMA = plan_schema(system.words())
GOOD: dict[str, Any] = {
    "plan": "good",
    "given": [{"server.create": {"name": "vm", "volumes": []}}, "volume.create", {"tick": None}],
    "during": [
        {"server.delete": {"server": "vm"}, "as": "first", "allow": [404]},
        {"volume.create": {"name": "more", "size": 2}, "as": "second"},
        {"reach": "before build.start"},
        {
            "together": [
                {"start": "compute-*", "as": "left"},
                {"steps": ["tick", {"server.move": {"server": "vm", "host": None}}], "as": "right"},
            ]
        },
    ],
    "inject": [
        {"at": "before build.start", "do": "crash"},
        {
            "in": "recover",
            "at": {"after": "recover.load", "service": "api", "occurrence": 2, "raised": True},
            "do": {"delay": {"seconds": 1}},
            "within": 1.5,
            "maybe": True,
        },
        {"do": {"race": {"actors": ["left", "right"], "points": [{"before": "build.claim"}]}}},
        {"do": {"kill": {"service": "compute-*"}}},
        {"do": "cut"},
    ],
    "recover": [{"start": "compute-*"}, {"restart": "api"}],
    "then": [{"kill": "api"}],
    "invariants": ["nothing-lost", "recoverable"],
    "settle": 3,
    "schedules": {"pct": 10, "depth": 2},
    "repeat": 2,
    "needs": ["links"],
    "bugs": {"of-another-target": ["nothing-lost"]},
}


def injected(**wrong: Any) -> dict[str, Any]:
    return {"inject": [{"at": "before build.start", "do": "crash", **wrong}]}


def test_a_good_plan_satisfies_loader_and_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(GOOD, SCHEMA)
    parse(json.dumps(GOOD), Path("x")).bind(system.words())


TYPOS: list[tuple[dict[str, Any], str, list[str | int]]] = [
    ({"durng": []}, "durng", []),
    ({"given": [{"server.crate": {"name": "vm"}}]}, "server.crate", ["given", 0]),
    ({"given": ["volum.create"]}, "volum.create", ["given", 0]),
    ({"given": [{"server.create": {"nam": "vm"}}]}, "nam", ["given", 0, "server.create"]),
    ({"given": [{"server.create": {}}]}, "name", ["given", 0, "server.create"]),
    ({"given": [{"server.create": {"name": ["vm"]}}]}, "vm", ["given", 0, "server.create", "name"]),
    ({"given": [{"server.create": {"name": "a", "delete_on_termination": "maybe"}}]},
     "maybe", ["given", 0, "server.create", "delete_on_termination"]),
    ({"given": [{"volume.create": {"size": True}}]}, "True", ["given", 0, "volume.create", "size"]),
    ({"given": [{"reach": "before build.start"}]}, "reach", ["given", 0]),
    ({"during": [{"tick": {}, "ass": "first"}]}, "ass", ["during", 0]),
    ({"during": [{"tick": {}, "volume.create": {}}]}, "volume.create", ["during", 0]),
    ({"during": [{"steps": ["tick"]}]}, "steps", ["during", 0]),
    ({"during": [{"reach": "before build.strt"}]}, "build.strt", ["during", 0, "reach"]),
    ({"during": [{"reach": {"before": "build.start"}}]}, "build.start", ["during", 0, "reach"]),
    ({"during": [{"together": ["tick", {"steps": [{"tikc": {}}]}]}]}, "tikc",
     ["during", 0, "together", 1, "steps", 0]),
    ({"during": [{"together": ["tick", {"together": ["tick", "tick"]}]}]}, "together",
     ["during", 0, "together", 1]),
    ({"during": [{"together": ["tick"]}]}, "tick", ["during", 0, "together"]),
    ({"during": [{"together": ["tick", "tick"], "as": "x"}]}, "as", ["during", 0]),
    ({"during": [{"kill": "api", "allow": [404]}]}, "allow", ["during", 0]),
    ({"recover": [{"strat": "api"}]}, "strat", ["recover", 0]),
    ({"recover": [{"start": "apo"}]}, "apo", ["recover", 0, "start"]),
    ({"then": [{"server.move": {"server": "vm", "host": "apo"}}]}, "apo",
     ["then", 0, "server.move", "host"]),
    (injected(do="crsh"), "crsh", ["inject", 0, "do"]),
    (injected(do={"crsh": {}}), "crsh", ["inject", 0, "do"]),
    (injected(do={"delay": {"secnds": 1}}), "secnds", ["inject", 0, "do", "delay"]),
    (injected(do={"delay": {}}), "seconds", ["inject", 0, "do", "delay"]),
    (injected(do={"delay": {"seconds": "soon"}}), "soon",
     ["inject", 0, "do", "delay", "seconds"]),
    (injected(do={"kill": {"service": "apo"}}), "apo", ["inject", 0, "do", "kill", "service"]),
    (injected(at="before nowhere"), "nowhere", ["inject", 0, "at"]),
    (injected(at={"before": "nowhere"}), "nowhere", ["inject", 0, "at", "before"]),
    (injected(at={"befor": "build.start"}), "befor", ["inject", 0, "at"]),
    (injected(at={"before": "build.start", "after": "build.claim"}), "build.claim",
     ["inject", 0, "at"]),
    (injected(at={"before": "build.start", "service": "apo"}), "apo",
     ["inject", 0, "at", "service"]),
    (injected(at={"before": "build.start", "occurrence": 0}), "0",
     ["inject", 0, "at", "occurrence"]),
    ({"inject": [{"do": "crash"}]}, "at", ["inject", 0]),
    (injected(do={"race": {"actors": ["left", "right"], "points": ["before build.start"]}}),
     "build.start", ["inject", 0]),
    ({"inject": [{"do": {"race": {"actors": ["left", "right"], "points": ["before bild.start"]}}}]},
     "bild.start", ["inject", 0, "do", "race", "points", 0]),
    (injected(**{"in": "recovr"}), "recovr", ["inject", 0, "in"]),
    (injected(withn=3), "withn", ["inject", 0]),
    ({"invariants": ["nothing-lst"]}, "nothing-lst", ["invariants", 0]),
    ({"bugs": {"lp1": ["nothing-lst"]}}, "nothing-lst", ["bugs", "lp1", 0]),
    ({"settle": "soon"}, "soon", ["settle"]),
    ({"schedules": {"pcf": 4}}, "pcf", ["schedules"]),
    ({"plan": "Not Good"}, "Not Good", ["plan"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "word", "path"), TYPOS, ids=[f"{place}-{word}" for _, word, place in TYPOS]
)
def test_a_wrong_word_is_named_with_its_place(
    wrong: dict[str, Any], word: str, path: list[str | int]
) -> None:
    error = best_match(jsonschema.Draft202012Validator(SCHEMA).iter_errors({**GOOD, **wrong}))
    assert error is not None
    assert word in error.message
    assert list(error.absolute_path) == path
    assert "not valid under" not in error.message
    with pytest.raises(PlanError):
        parse(json.dumps({**GOOD, **wrong}), Path("x")).bind(system.words())


def test_a_matrix_may_stand_for_any_value() -> None:
    plan = {
        **GOOD,
        "matrix": {"n": [1, 2], "at": [{"before": "build.start"}], "do": ["crash"]},
        "settle": "<n>",
        "during": "<steps>",
        "inject": [{"at": "<at>", "do": "<do>"}, {"at": "before <point>", "do": {"delay": "<d>"}}],
    }
    jsonschema.validate(plan, SCHEMA)
    jsonschema.validate({**plan, "matrix": [{"n": 1}]}, SCHEMA)


@pytest.mark.parametrize("matrix", [5, {}, [], {"a": 1}, {"a b": [1]}, {"a": []}, [1], [{}]])
def test_what_is_no_matrix_violates_the_schema(matrix: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**GOOD, "matrix": matrix}, SCHEMA)


@cache
def _without_a_target() -> Draft202012Validator:
    schema = plan_schema()
    Draft202012Validator.check_schema(schema)  # once: that takes longer than a plan
    return Draft202012Validator(schema)


PLANS = find([ROOT / "suites", ROOT / "tests/ledger"])


@pytest.mark.parametrize("path", PLANS, ids=[path.name for path in PLANS])
def test_our_own_plans_satisfy_the_schema_without_a_target(path: Path) -> None:
    validator = _without_a_target()
    for source in load(path):
        validator.validate(source.document.value)
        validator.validate(source.plan.document())


def test_without_a_target_any_word_is_allowed_and_built_in_steps_keep_their_place() -> None:
    during: list[Any] = [
        "a", {"d": {}, "as": "e"}, {"reach": "after b"},
        {"together": ["f", {"steps": [{"g": {}}, {"kill": "h"}]}]},
    ]  # fmt: skip
    plan = {"plan": "x", "during": during, "inject": [{"at": "after b", "do": {"c": {}}}]}
    schema = plan_schema()
    jsonschema.validate(plan, schema)
    for wrong in ({"given": [{"reach": "after b"}]}, {"during": [{"steps": ["a"]}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**plan, **wrong}, schema)
