"""Plans from YAML files, with errors that name file, line, the wrong word and the right one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chaos.errors import PlanError, nearest
from chaos.language import problem, rows
from chaos.language.arguments import names_of
from chaos.language.bind import SECTIONS, BoundPlan, UnboundPlan, bind
from chaos.language.catalogue import CatalogueError, Vocabulary, vocabulary
from chaos.language.document import Document, documents, read
from chaos.language.matrix import CASE, MATRIX, NoMatrix, expand
from chaos.language.problem import Problem
from chaos.plan import STEPS, TOGETHER, Injection, Location, Model, Plan, Schedules

SUFFIXES = (".plan.yaml", ".plan.yml")
MOST_STEPS = 2_000


@dataclass(frozen=True, slots=True)
class Source:
    """A plan with the document it came from, so that errors can name lines.

    A document with a matrix is the source of many plans, one for each case.
    """

    plan: Plan
    path: Path
    document: Document

    @property
    def line(self) -> int:
        """Line of the file on which the document starts, from 1."""
        return self.document.line()

    @property
    def target(self) -> str:
        """The target that the plan names, '' when none; a file stands beside that of the plan."""
        named = self.plan.target
        return str(self.path.parent / named) if named.endswith(".py") else named

    def words(self, target: str) -> Vocabulary:
        """What :func:`chaos.language.catalogue.vocabulary` gives for ``target``.

        Raises:
            PlanError: there is no such target, with the line where it is the plan that names it.
            CatalogueError: there is none, and somebody else named it.
        """
        try:
            return vocabulary(target)
        except CatalogueError as error:
            if target != self.target:
                raise
            line = self.document.line(("target",))
            raise PlanError(f"{self.path}:{line}: {error}") from None

    def bind(self, words: Vocabulary) -> BoundPlan:
        """Look up every word; see :func:`chaos.language.bind.bind`.

        Raises:
            PlanError: what is wrong, each with file and line.
        """
        try:
            return bind(self.plan, words)
        except UnboundPlan as error:
            case = self.plan.case if MATRIX in self.document.value else ""
            raise _error(self.path, self.document, error.problems, case) from None


def find(paths: Iterable[Path]) -> list[Path]:
    """The plan files among ``paths``: files as they are, folders searched, sorted; each once.

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
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def load(path: Path) -> list[Source]:
    """Every plan in a file, and every case of those with a matrix; ``---`` separates documents.

    Raises:
        PlanError: it cannot be read, is not YAML, or is not a plan; says where.
    """
    sources = [
        source for document in documents(read(path), path) for source in _sources(path, document)
    ]
    if not sources:
        raise PlanError(f"{path}:1: empty; a plan needs at least `plan`, `during` and `inject`")
    return sources


def parse(text: str, path: Path) -> Source:
    """The one plan in ``text``; errors call it ``path``.

    Raises:
        PlanError: it is not YAML, or not one plan.
    """
    sources = [s for document in documents(text, path) for s in _sources(path, document)]
    if len(sources) != 1:
        raise PlanError(f"{path}:1: {len(sources)} plans, where one is wanted")
    return sources[0]


def unique(sources: Iterable[Source]) -> list[Source]:
    """The same sources: no two documents have plans of one name.

    Raises:
        PlanError: two have; names both places.
    """
    sources = list(sources)
    first: dict[str, str] = {}
    wrong: dict[str, None] = {}
    for source in sources:
        name, place = source.plan.name, f"{source.path}:{source.line}"
        if first.setdefault(name, place) != place:
            wrong[f"{place}: there is already a plan `{name}`, at {first[name]}; rename one"] = None
    if wrong:
        raise PlanError("\n".join(wrong))
    return sources


def schedules(written: object, name: str) -> Schedules:
    """What somebody wrote on a command line as a plan's ``schedules``; errors call it ``name``.

    Raises:
        PlanError: it is no such thing.
    """
    value = (
        next(iter(documents(written, Path(name)))).value if isinstance(written, str) else written
    )
    try:
        return Schedules.model_validate(value)
    except ValidationError as error:
        raise PlanError(f"{name} {written}: {error.errors()[0]['msg']}") from None


def _sources(path: Path, document: Document) -> Iterator[Source]:
    if not isinstance(document.value, dict):
        raise PlanError(
            f"{path}:{document.line()}: a plan is a mapping that starts with `plan: NAME`"
        )
    try:
        for case in expand(document.value):
            yield Source(_plan(path, document, case), path, document)
    except NoMatrix as error:
        raise _error(path, document, error.problems) from None


def _plan(path: Path, document: Document, case: Mapping[str, Any]) -> Plan:
    label = str(case.get(CASE, "")) if MATRIX in document.value else ""
    places = [place for section in SECTIONS for place in _steps(case.get(section), (section,))]
    if len(places) > MOST_STEPS:
        many = f"{len(places)} steps; at most {MOST_STEPS} are allowed"
        raise _error(path, document, [Problem(places[MOST_STEPS], many)], label)
    try:
        plan = Plan.model_validate(case)
    except ValidationError as error:
        problems = list(problem.in_plan(error, _FIELDS))
        twice = [item["ctx"]["label"] for item in error.errors() if item["type"] == "label"]
        if twice:
            places = list(_called(case, twice[0], ()))
            problems = [Problem(places[-1], problems[0].message)]
        raise _error(path, document, problems, label) from None
    unknown = list(_unknown_rows(plan, path))
    if unknown:
        raise _error(path, document, unknown, label)
    return plan


def _unknown_rows(plan: Plan, path: Path) -> Iterator[Problem]:
    """Each row that the plan names and the list of its folder does not have."""
    file = rows.file_for(path) if plan.scenario else None
    if file is None:
        return
    known = rows.rows_in(file)
    for row in plan.scenario:
        if row not in known:
            message = f"{file.name} has no row `{row}`; {nearest(row, known)}"
            yield Problem(("scenario",), message)


def _steps(steps: Any, path: problem.Path) -> Iterator[problem.Path]:
    """Where each single step is, those of actors too."""
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        inner = [name for name in (TOGETHER, STEPS) if isinstance(step, dict) and name in step]
        if not inner:
            yield (*path, index)
        for name in inner:
            yield from _steps(step[name], (*path, index, name))


def _called(node: Any, label: str, path: problem.Path) -> Iterator[problem.Path]:
    """Where a step is given this label."""
    inner = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in inner:
        if key == "as" and value == label:
            yield (*path, key)
        yield from _called(value, label, (*path, key))


_MODELS: Mapping[str, type[Model]] = {
    "": Plan, "inject": Injection, "inject.at": Location, "schedules": Schedules,
}  # fmt: skip
_FIELDS = {place: names_of(model) for place, model in _MODELS.items()}
"""What may be written where, for the nearest of a misspelt word."""


def _error(
    path: Path, document: Document, problems: Iterable[Problem], case: str = ""
) -> PlanError:
    told = f" (case `{case}`)" if case else ""
    found = sorted({(document.line(found.path), found.message) for found in problems})
    return PlanError("\n".join(f"{path}:{line}: {message}{told}" for line, message in found))
