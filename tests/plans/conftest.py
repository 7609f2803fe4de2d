"""What the tests of the language share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.errors import PlanError
from chaos.language.loader import Source, load
from tests.plans import system

Told = Callable[[str], str]
Loaded = Callable[[str], list[Source]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Load a text, and bind each of its plans to the small system."""

    def do(text: str) -> list[Source]:
        path = tmp_path / "x.plan.yaml"
        path.write_text(text)
        sources = load(path)
        for source in sources:
            source.bind(system.words())
        return sources

    return do


@pytest.fixture
def told(loaded: Loaded, tmp_path: Path) -> Told:
    """What is said about a text that is no good plan."""

    def do(text: str) -> str:
        with pytest.raises(PlanError) as caught:
            loaded(text)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return do
