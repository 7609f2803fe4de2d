"""The schema that is published is the one of the target that comes with the project."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from chaos.language.catalogue import vocabulary
from chaos.language.loader import find, load
from chaos.language.schema import plan_schema
from tests.conftest import LEDGER

ROOT = Path(__file__).parents[2]
PLANS = [
    *((source, "reference") for path in find([ROOT / "suites"]) for source in load(path)),
    *((source, LEDGER) for path in find([ROOT / "tests/ledger"]) for source in load(path)),
]


@cache
def validator(target: str) -> Draft202012Validator:
    schema = plan_schema(vocabulary(target))
    Draft202012Validator.check_schema(schema)  # once: that takes longer than a plan
    return Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("source", "target"), PLANS, ids=[source.plan.title_of_case for source, _ in PLANS]
)
def test_our_own_plans_satisfy_the_schema_of_their_target(source: Any, target: str) -> None:
    validator(target).validate(source.plan.document())


def test_the_published_schema_is_the_one_of_the_reference() -> None:
    published = json.loads((ROOT / "docs/plan.schema.json").read_text())
    assert published == plan_schema(vocabulary("reference")), "run `make schema`"
