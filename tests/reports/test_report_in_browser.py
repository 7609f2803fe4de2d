from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports import browser


@pytest.fixture
def page(report: Path, tmp_path: Path) -> Iterator[browser.Browser]:
    binary = browser.find()
    if binary is None and os.environ.get("CI") != "true":
        pytest.skip("no chromium is installed")
    assert binary is not None, "CI must have chromium"
    with browser.Browser(binary, tmp_path / "profile") as page:
        page.open(report)
        yield page


@pytest.mark.slow
def test_page_filters_and_shows_tooltips_by_keyboard_without_an_error(
    page: browser.Browser,
) -> None:
    visible = "[...document.querySelectorAll('tr.trial:not([hidden])')].map(row => row.rowIndex)"
    page.evaluate("document.querySelector('[name=words]').focus()")
    page.type("bdm off")
    assert page.evaluate(visible) == [3, 7, 9]
    page.evaluate("document.querySelector('[name=unexpected]').click()")
    assert page.evaluate(visible) == [7, 9]
    assert page.evaluate("document.querySelector('output').value") == "2 of 10 shown"

    page.evaluate("document.querySelector('#trial-7 svg.timeline').focus()")
    page.press("ArrowRight")
    assert page.evaluate("document.getElementById('tip').hidden") is False
    assert page.evaluate("document.getElementById('tip').textContent").startswith("0.00 to 5.00 ms")
    assert page.problems == []
