"""The rendered page as a tree that tests can ask."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

_VOID = {"meta", "input", "br", "link", "img"}


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tree = TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        if tag in _VOID:
            self.tree.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        self.tree.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"
        self.tree.end(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.tree.data(data)


def parse(path: Path) -> Element:
    """The page's ``html`` element; fails when a tag is closed by another."""
    builder = _Builder()
    builder.feed(path.read_text(encoding="utf-8"))
    builder.close()
    assert builder.open == []
    return builder.tree.close()


def text(element: Element) -> str:
    """All text in an element, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def of_class(element: Element, name: str) -> list[Element]:
    """Every element in ``element`` that has the class, in order."""
    return [each for each in element.iter() if name in each.get("class", "").split()]


def section(page: Element, number: int) -> Element:
    """The section of the n-th trial."""
    return next(each for each in page.iter("details") if each.get("id") == f"trial-{number}")


def lanes(section: Element) -> list[str]:
    """Names of the lanes of the section's first timeline, from the top."""
    picture = next(each for each in section.iter("svg"))
    return [text(name) for name in of_class(picture, "name")]


def tips(section: Element, kind: str) -> list[str]:
    """What the marks of one kind (``dead``, ``fault`` …) in the first timeline tell."""
    picture = next(each for each in section.iter("svg"))
    return [
        text(mark[0])
        for mark in of_class(picture, "mark")
        if kind in " ".join(shape.get("class", "") for shape in mark).split()
    ]
