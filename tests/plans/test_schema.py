"""The published JSON Schema agrees with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chaos.language.catalogue import vocabulary
from chaos.language.loader import find, load
from chaos.language.schema import plan_schema
from tests.conftest import LEDGER

ROOT = Path(__file__).parents[2]
PLANS = [
    *((source, "reference") for path in find([ROOT / "suites"]) for source in load(path)),
    *((source, LEDGER) for path in find([ROOT / "tests/ledger"]) for source in load(path)),
]


@pytest.mark.parametrize(("source", "target"), PLANS, ids=[source.plan.name for source, _ in PLANS])
def test_our_own_plans_satisfy_the_schema_of_their_target(source: Any, target: str) -> None:
    schema = plan_schema(vocabulary(target))
    jsonschema.validate(source.plan.document(), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"durng": []},
        {"inject": [{"at": "before nowhere", "do": "crash"}]},
        {"inject": [{"at": "before transfer.credit", "do": "crsh"}]},
        {"inject": [{"at": "before transfer.credit", "do": {"delay": {"second": 1}}}]},
        {"during": [{"transfr": {}}]},
        {"bugs": {"none": ["recoverable"]}},
        {"given": [{"reach": "before transfer.credit"}]},
        {"then": [{"reach": "before transfer.credit"}]},
        {"during": [{"reach": {"before": "transfer.credit"}}]},
        {"during": [{"together": [{"together": []}, {"reach": "before transfer.credit"}]}]},
    ],
)
def test_a_misspelt_word_violates_the_schema(wrong: dict[str, Any]) -> None:
    good = {
        "plan": "good",
        "during": [{"transfer": {"source": "a", "target": "b", "amount": 1}}],
        "inject": [{"at": "before transfer.credit", "do": "crash"}],
    }
    schema = plan_schema(vocabulary(LEDGER))
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, **wrong}, schema)


def test_the_published_schema_is_the_one_of_the_reference() -> None:
    published = json.loads((ROOT / "docs/plan.schema.json").read_text())
    assert published == plan_schema(vocabulary("reference")), "run `make schema`"


def test_without_a_target_any_word_is_allowed() -> None:
    during = ["a", {"d": {}, "as": "e"}, {"reach": "after b"}, {"together": ["f", {"g": {}}]}]
    plan = {"plan": "x", "during": during, "inject": [{"at": "after b", "do": {"c": {}}}]}
    jsonschema.validate(plan, plan_schema())
