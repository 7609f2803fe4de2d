"""The YAML documents of a file: plain values, and the line on which each of them stands.

A plan may come from anybody. Every document is therefore small, shallow, made of plain values, and
refused in one line otherwise; what is refused is refused before it takes time or memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path as File
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chaos.errors import PlanError
from chaos.language.problem import WRITTEN, Path

MOST_BYTES = 1_000_000
MOST_NODES = 50_000
MOST_ALIASED = 1_000
"""How many nodes a document may have by aliases, beside those that are written out."""
MOST_DEPTH = 50
MOST_DIGITS = 50

# What YAML does not allow, escaped or not; a journal or a JUnit file could not hold it either.
_NO_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """One document: ``value`` is made of dicts, lists, strings, numbers, booleans and None."""

    value: Any
    lines: Mapping[Path, int]
    """Place → line of the file, from 1."""

    def line(self, path: Path = ()) -> int:
        """Line of the deepest part of ``path`` that the document has.

        Parts that are not written are passed over: a step's operation may be a word by itself.
        """
        here: Path = ()
        for part in path:
            written = [
                name for name in (part, *WRITTEN.get(part, ())) if (*here, name) in self.lines
            ]
            here = (*here, *written[:1])
        return self.lines[here]


def read(file: File) -> str:
    """The text of a file.

    Raises:
        PlanError: it cannot be read, is larger than a plan can be, or is not text.
    """
    try:
        data = file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}") from None
    if data is None:
        raise PlanError(f"{file}:1: larger than {MOST_BYTES} bytes, which no plan is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PlanError(f"{file}:{line}: not valid UTF-8: {error.reason}") from None


def documents(text: str, file: File) -> Iterator[Document]:
    """Every document of ``text`` that is not empty; errors call it ``file``.

    Raises:
        PlanError: it is not valid YAML, or more than a plan can be; says where.
    """
    wrong = _NO_TEXT.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        raise PlanError(f"{file}:{line}: not valid YAML: the character U+{ord(wrong[0]):04X}")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    try:
        _, parser = yaml.get_constructor_parser(text)
        while yaml.composer.check_node():
            document = _Reader(file, yaml).read(yaml.composer.get_node())
            if document.value is not None:
                yield document
        parser.dispose()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:" if mark else f"{file}:"
        raise PlanError(f"{where} not valid YAML: {error.problem or error}") from None
    except PlanError:
        raise
    except Exception as error:  # the library fails in its own way on what is rare, as `%YAML 1.1`
        raise PlanError(
            f"{file}:{yaml.reader.line + 1}: not valid YAML: it cannot be read here ({error})"
        ) from None


class _TooMuch(MarkedYAMLError):
    """More than a plan can be."""


class _Composer(Composer):
    """Stops where a document is too deep or too large, instead of reading it to its end."""

    _depth = 0
    _nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read one node, and all below it."""
        event = self.parser.peek_event()
        if parent is None:
            self._nodes = 0
        self._nodes += 1
        if self._depth >= MOST_DEPTH or self._nodes > MOST_NODES:
            what = "deeper" if self._depth >= MOST_DEPTH else "more"
            most = f"{MOST_DEPTH} levels" if what == "deeper" else f"{MOST_NODES} values"
            raise _TooMuch(None, None, f"{what} than {most}", event.start_mark)
        if not isinstance(event, AliasEvent):
            self.anchors.pop(event.anchor, None)  # an anchor may be given again, and is warned of
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


@dataclass(slots=True)
class _Reader:
    """Makes plain values of the nodes of one document."""

    file: File
    yaml: YAML
    lines: dict[Path, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _open: set[int] = field(default_factory=set)
    _aliased: int = 0

    def read(self, node: Node) -> Document:
        self.lines[()] = _line(node)
        return Document(self._value(node, ()), self.lines)

    def _value(self, node: Node, path: Path) -> Any:
        if id(node) in self._open:
            raise self._wrong(node, "this anchor contains itself")
        self._aliased += id(node) in self._seen
        if self._aliased > MOST_ALIASED:
            raise self._wrong(node, f"aliases repeat more than {MOST_ALIASED} values")
        self._seen.add(id(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            value: Any = self._mapping(node, path)
        else:
            value = self._list(node, path)
        self._open.remove(id(node))
        return value

    def _list(self, node: Node, path: Path) -> list[Any]:
        if node.tag != f"{_TAG}seq":
            raise self._unknown_tag(node)
        values = []
        for index, item in enumerate(node.value):
            self.lines[*path, index] = _line(item)
            values.append(self._value(item, (*path, index)))
        return values

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        if node.tag != f"{_TAG}map":
            raise self._unknown_tag(node)
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if key.tag == f"{_TAG}merge":
                for source in item.value if isinstance(item, SequenceNode) else (item,):
                    if not isinstance(source, MappingNode):
                        raise self._wrong(source, "`<<` takes a mapping, or a list of mappings")
                    merged = {**self._value(source, path), **merged}
                continue
            if not isinstance(key, ScalarNode):
                raise self._wrong(key, "a key must be a word")
            name = self._text(key)
            if name in values:
                raise self._wrong(key, f"the key `{name}` stands here twice")
            values[name] = self._value(item, (*path, name))
            self.lines[*path, name] = _line(key)
        return {**merged, **values}

    def _scalar(self, node: ScalarNode) -> Any:
        match str(node.tag).removeprefix(_TAG):
            case "str" | "timestamp":
                return self._text(node)
            case "int" | "float" | "bool" | "null" as kind:
                if sum(map(str.isalnum, node.value)) > MOST_DIGITS:  # hexadecimal ones too
                    raise self._wrong(node, f"a number of more than {MOST_DIGITS} digits")
                try:
                    value = self.yaml.constructor.construct_object(node)
                except (ValueError, KeyError, IndexError):
                    raise self._wrong(node, f"`{self._text(node)}` is no {kind}") from None
                if isinstance(value, float) and not isfinite(value):
                    raise self._wrong(node, f"`{node.value}` is no finite number")
                return value
        raise self._unknown_tag(node)

    def _text(self, node: ScalarNode) -> str:
        wrong = _NO_TEXT.search(node.value)
        if wrong:
            raise self._wrong(node, f"the character U+{ord(wrong[0]):04X}")
        return str(node.value)

    def _unknown_tag(self, node: Node) -> PlanError:
        return self._wrong(node, f"a plan has plain values only, and no tag `{node.tag}`")

    def _wrong(self, node: Node, problem: str) -> PlanError:
        return PlanError(f"{self.file}:{_line(node)}: not valid YAML: {problem}")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
