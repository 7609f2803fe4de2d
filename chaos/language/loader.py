"""Plans from YAML files, with errors that name file, line, the wrong word and the right one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from chaos.errors import PlanError
from chaos.language.bind import BoundPlan, Problem, UnboundPlan, bind, explain, telling
from chaos.language.catalogue import CatalogueError, Vocabulary, vocabulary
from chaos.plan import Injection, Location, Model, Plan, Recovery, Step

SUFFIXES = (".plan.yaml", ".plan.yml")
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """A plan with the document it came from, so that errors can name lines."""

    plan: Plan
    path: Path
    document: CommentedMap

    @property
    def line(self) -> int:
        """Line of the file on which the plan starts, from 1."""
        return int(self.document.lc.line) + 1

    def words(self, target: str) -> Vocabulary:
        """What :func:`chaos.language.catalogue.vocabulary` gives for ``target``.

        Raises:
            PlanError: there is no such target, with the line where it is the plan that names it.
            CatalogueError: there is none, and somebody else named it.
        """
        try:
            return vocabulary(target)
        except CatalogueError as error:
            if target != self.plan.target:
                raise
            line = _line(self.document, ["target"])
            raise PlanError(f"{self.path}:{line}: {error}") from None

    def bind(self, words: Vocabulary) -> BoundPlan:
        """Look up every word; see :func:`chaos.language.bind.bind`.

        Raises:
            PlanError: the words that do not exist, each with file and line.
        """
        try:
            return bind(self.plan, words)
        except UnboundPlan as error:
            raise PlanError(_report(self.path, self.document, error.problems)) from None


def find(paths: Iterable[Path]) -> list[Path]:
    """The plan files among ``paths``: files as they are, folders searched, sorted.

    Raises:
        PlanError: a path does not exist, or there is no plan file at all.
    """
    paths = list(paths)
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*.plan.y*ml") if p.name.endswith(SUFFIXES))
        elif path.is_file():
            found.append(path)
        else:
            raise PlanError(f"{path}: no such file or folder")
    if not found:
        raise PlanError(f"no *.plan.yaml in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def load(path: Path) -> list[Source]:
    """Every plan in a file; documents are separated by ``---``.

    Raises:
        PlanError: it cannot be read, is not YAML, or is not a plan; says where.
    """
    if path.stat().st_size > MAX_BYTES:
        raise PlanError(f"{path}: larger than {MAX_BYTES} bytes, which no plan is")
    try:
        documents = _documents(path.read_text("utf-8"), path)
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not valid YAML: {error}") from None
    if not documents:
        raise PlanError(f"{path}: empty; a plan needs at least `plan`, `during` and `inject`")
    return [_parse(path, document) for document in documents]


def parse(text: str, path: Path) -> Source:
    """The one plan in ``text``; errors call it ``path``.

    Raises:
        PlanError: it is not YAML, or not a plan.
    """
    return _parse(path, _documents(text, path)[0])


def _documents(text: str, path: Path) -> list[Any]:
    yaml = YAML(typ="rt")  # builds plain containers only; an unknown tag makes no object
    try:
        return [document for document in yaml.load_all(text) if document is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{mark.line + 1}:" if mark else ""
        raise PlanError(f"{path}:{line} not valid YAML: {error.problem or error}") from None
    except YAMLError as error:
        raise PlanError(f"{path}: not valid YAML: {error}") from None


def _parse(path: Path, document: Any) -> Source:
    if not isinstance(document, CommentedMap):
        raise PlanError(f"{path}:1: a plan is a mapping that starts with `plan: NAME`")
    try:
        return Source(Plan.model_validate(_plain(document)), path, document)
    except ValidationError as error:
        problems = [
            Problem(_yaml_path(item["loc"]), explain(item, _fields_at(item["loc"])))
            for item in telling(error)
        ]
        raise PlanError(_report(path, document, problems)) from None


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):  # ruamel's scalars remember their spelling; a plan does not
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def _yaml_path(location: Sequence[str | int]) -> tuple[str | int, ...]:
    return tuple("plan" if part == "name" else part for part in location)


def _fields_at(location: Sequence[str | int]) -> list[str]:
    model: type[Model] = Plan
    match location[:1], "at" in location:
        case (("given" | "during" | "then",), _):
            model = Step
        case (("inject",), True):
            model = Location
        case (("inject",), False):
            model = Injection
        case (("recover",), _):
            model = Recovery
    if len(location) == 1:
        model = Plan
    return [field.alias or name for name, field in model.model_fields.items()]


def _report(path: Path, document: CommentedMap, problems: Sequence[Problem]) -> str:
    found = sorted({(_line(document, problem.path), problem.message) for problem in problems})
    return "\n".join(f"{path}:{line}: {message}" for line, message in found)


def _line(document: CommentedMap, path: Sequence[str | int]) -> int:
    """Line (from 1) of the deepest part of ``path`` that the document has."""
    node: Any = document
    line = int(document.lc.line)
    for part in path:
        if isinstance(node, CommentedMap):
            # A step's inner path may name what YAML writes on the same line.
            if part not in node:
                continue
            line = int(node.lc.key(part)[0])
            node = node[part]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = int(node.lc.item(part)[0])
            node = node[part]
        else:
            break
    return line + 1
