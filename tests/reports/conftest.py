from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from chaos.journal import Journal
from reports import html
from tests.reports.nightly import write_nightly
from tests.reports.page import parse


@pytest.fixture(scope="session")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """The journal of ten trials, open for reading."""
    path = write_nightly(tmp_path_factory.mktemp("nightly") / "journal.sqlite")
    with Journal(path, readonly=True) as journal:
        yield journal


@pytest.fixture(scope="session")
def report(nightly: Journal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nightly's HTML report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    html.render(nightly, path)
    return path


@pytest.fixture(scope="session")
def page(report: Path) -> Element:
    """The nightly's HTML report, parsed."""
    return parse(report)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal, open for writing."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def rendered(journal: Journal, tmp_path: Path) -> Callable[[], Element]:
    """Call it to render ``journal`` as it is now and get the parsed page."""

    def render() -> Element:
        html.render(journal, tmp_path / "report.html")
        return parse(tmp_path / "report.html")

    return render
