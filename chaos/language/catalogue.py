"""Finding what others provide: targets, kinds of fault, invariants, suites, reports.

Each is an entry point of the group named below, so an installed package can add its own; a target
can also be a plain Python file or module with a function that returns it and, beside that,
invariants.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from chaos.errors import ChaosError, nearest
from chaos.fault import Fault
from chaos.invariant import Invariant, collect
from chaos.target import Target

TARGETS = "chaos.targets"
VARIANTS = "chaos.variants"
"""Targets that are other ways to run one that is installed, and are used where they are named."""
FAULTS = "chaos.faults"
INVARIANTS = "chaos.invariants"
SUITES = "chaos.suites"
REPORTS = "chaos.reports"
PYTEST = "chaos.pytest"
TEMPLATES = "chaos.templates"


class CatalogueError(ChaosError):
    """Something that was asked for by name does not exist or cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every word that a plan for one target may use."""

    target: Target
    faults: Mapping[str, type[Fault]]
    invariants: Mapping[str, Invariant]
    """The target's own, and those of its file or of an installed library."""


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except ImportError as error:
        hint = shadowing() or (
            "If a package is missing, install the extra that brings it: "
            f"`pip install {_extra(entry)}`."
        )
        raise CatalogueError(
            f"`{entry.name}` ({entry.value}) cannot be imported: {error}.\n{hint}"
        ) from error


def _extra(entry: EntryPoint) -> str:
    """``distribution[extra]``: the extra that is called like what could not be imported, if any."""
    metadata = entry.dist.metadata if entry.dist else None
    if metadata is None:
        return "NAME[EXTRA]"
    extras = metadata.get_all("Provides-Extra") or []
    return f"{metadata['Name']}[{entry.name if entry.name in extras else 'EXTRA'}]"


def shadowing() -> str:
    """One sentence for each of our packages that a package of the user's own hides, else ''."""
    ours = Path(__file__).resolve().parents[2]
    hidden = []
    for name in ("chaos", "faults", "targets", "suites", "reports"):
        spec = importlib.util.find_spec(name)
        where = [
            Path(place).resolve() for place in (spec and spec.submodule_search_locations) or ()
        ]
        if where and ours / name not in where:
            hidden.append(
                f"Your package `{name}` at {where[0]} hides ours at {ours / name}: rename it, or "
                f"take {where[0].parent} off sys.path (pytest: `--import-mode=importlib`)."
            )
    return "\n".join(hidden)


@contextmanager
def _blaming(target: str) -> Iterator[None]:
    """Make of what a target of the user's own raises one message that says where it did."""
    try:
        with _ending_raises("abort"), _ending_raises("_exit"):
            yield
    except ChaosError:
        raise
    except SystemExit as error:
        ends = "it ends the program, where it should give a target"
        raise CatalogueError(f"the target `{target}` is broken: {_where(error)}{ends}") from None
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise CatalogueError(f"the target `{target}` is broken: {_where(error)}{what}") from error


@contextmanager
def _ending_raises(name: str) -> Iterator[None]:
    """Have a function of ``os`` that ends the process at once raise SystemExit meanwhile."""
    process, ends = os.getpid(), getattr(os, name)
    is_meanwhile = True

    def end(*status: int) -> None:
        if is_meanwhile and os.getpid() == process:  # not in what was forked from it
            raise SystemExit(*status)
        ends(*status)

    setattr(os, name, end)
    try:
        yield
    finally:
        is_meanwhile = False
        setattr(os, name, ends)


def _where(error: BaseException) -> str:
    """The last line of the user's own that ``error`` came through; '' when its message tells."""
    if isinstance(error, SyntaxError):
        return ""
    ours = Path(__file__).resolve().parents[2]
    hidden = ("<", *(str(ours / name) for name in ("chaos", "targets", "faults")))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(hidden)]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _own_module(target: str) -> tuple[ModuleType, str]:
    if target.endswith(".py"):
        return _module_of(Path(target)), "target"
    module, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module), name
    except ImportError as error:
        raise CatalogueError(f"the target `{target}` cannot be imported: {error}") from error


def _module_of(path: Path) -> ModuleType:
    if not path.is_file():
        raise CatalogueError(f"there is no target file {path}")
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The services of a system often stand beside the file that describes it.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def faults() -> Mapping[str, type[Fault]]:
    """Every kind of fault by the word that plans use."""
    return {name: _load(entry) for name, entry in _entries(FAULTS).items()}


@cache
def vocabulary(target: str) -> Vocabulary:
    """The words of one target, to look them up; :func:`make` gives a target of one's own to start.

    Raises:
        CatalogueError: there is no such target, or it cannot be imported.
    """
    return make(target)


def is_own(target: str) -> bool:
    """Whether ``target`` is code of the user's own, which is executed to look up its words."""
    return target.endswith(".py") or ":" in target


def make(target: str) -> Vocabulary:
    """A new target, and the words that plans for it may use.

    ``target`` is an entry point's name, a file ``path/to/system.py`` that defines ``target()``, or
    ``package.module:function``, looked for in the current folder too.

    Raises:
        CatalogueError: there is no such target, or it cannot be imported.
    """
    if is_own(target):
        with _blaming(target):
            module, name = _own_module(target)
            hidden = shadowing()  # by what stands beside the target
            if hidden:
                raise CatalogueError(hidden)
            factory: Callable[[], Target] | None = getattr(module, name, None)
            if factory is None:
                raise CatalogueError(f"{module.__file__} defines no function `{name}()`")
            made = factory()
            if not isinstance(made, Target):
                raise CatalogueError(
                    f"`{target}` gives no target, but something of the type {type(made).__name__}"
                )
            return _words(made, collect(module))
    known = {**_entries(VARIANTS), **_entries(TARGETS)}
    if target not in known:
        raise CatalogueError(
            f"there is no target `{target}`; {nearest(target, known)} "
            "(or give your own: `--target path/to/system.py`)"
        )
    library = _entries(INVARIANTS).get(target)
    return _words(_load(known[target])(), collect(_load(library)) if library else {})


def _words(target: Target, beside: Mapping[str, Invariant]) -> Vocabulary:
    """The target's own invariants count where one ``beside`` it has the same name."""
    return Vocabulary(target, faults(), {**beside, **target.invariants})


def capabilities(*targets: str) -> frozenset[str]:
    """What any target that is installed can do beyond the contract, and any of these.

    One that cannot be imported has nothing to add.
    """
    found = set[str]()
    for name in {*_entries(TARGETS), *filter(None, targets)}:
        with suppress(CatalogueError):
            found |= vocabulary(name).target.capabilities
    return frozenset(found)


def default_target() -> str:
    """The target of plans that name none, where nobody else says which: the one that is installed.

    Raises:
        CatalogueError: none is installed, or several are.
    """
    known = sorted(_entries(TARGETS))
    if len(known) == 1:
        return known[0]
    found = f"{len(known)} are installed: {', '.join(known)}" if known else "none is installed"
    raise CatalogueError(
        f"which target? {found}; say it with `--target` (pytest: `--chaos-target`), or as "
        "`target:` in the plan"
    )


def suites(target: str) -> Path:
    """The folder of plans that is installed for a target.

    Raises:
        CatalogueError: there is none.
    """
    known = _entries(SUITES)
    if target not in known:
        raise CatalogueError(
            f"no plans are installed for the target `{target}`: say which to run, "
            "`chaos run PLAN|FOLDER...`"
        )
    return Path(_load(known[target]).__file__).parent


def template() -> Path:
    """The folder with the files that a system of one's own starts from.

    Raises:
        CatalogueError: none is installed.
    """
    for entry in _entries(TEMPLATES).values():
        return Path(_load(entry).__file__).parent
    raise CatalogueError("no template of a system is installed")


def report(name: str) -> Callable[..., None]:
    """The renderer of one kind of report, called with (journal, output path)."""
    known = _entries(REPORTS)
    if name not in known:
        raise CatalogueError(f"there is no report `{name}`; {nearest(name, known)}")
    found: Callable[..., None] = _load(known[name])
    return found


def reports() -> tuple[str, ...]:
    """The names of all kinds of report."""
    return tuple(_entries(REPORTS))


def pytest_plugins() -> Mapping[str, Any]:
    """What accompanies chaos tests in pytest: modules of hooks, by name."""
    return {name: _load(entry) for name, entry in _entries(PYTEST).items()}
