"""Bug switches: historical defects, each a module that puts the old function into its place.

The services know nothing of them. A switch is named after its bug on Launchpad; ``apply`` replaces
the correct function by the faulty one, in the process that calls it. Others bring their own: the
modules in the folders that ``CHAOS_BUGS_PATH`` names, separated as in ``PATH``, are switches too.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from importlib import import_module, util
from pathlib import Path

BUGS_PATH = "CHAOS_BUGS_PATH"


def available() -> dict[str, str]:
    """Return every switch and the first line of what its module says of it.

    Raises:
        LookupError: a folder that ``CHAOS_BUGS_PATH`` names is none, or has a switch of a name that
            is taken.
    """
    # Read, not imported: who asks needs none of the services' code.
    return {
        name: (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        for name, file in _files().items()
    }


def apply_named(names: Iterable[str]) -> None:
    """Put in the defects of these names.

    Raises:
        LookupError: there is no such switch.
    """
    for name in sorted(names):
        if name not in (known := _files()):
            raise LookupError(f"no bug switch `{name}`; there are {', '.join(known)}")
        if known[name].parent == _HERE:
            import_module(f"{__name__}.{name}").apply()
        else:
            _apply_outside(name, known[name])


_HERE = Path(__file__).parent


def _files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (_HERE, *_outside()):
        for file in sorted(folder.glob("[!_]*.py")):
            if other := found.get(file.stem):
                raise LookupError(f"two bug switches are called `{file.stem}`: {other} and {file}")
            found[file.stem] = file
    return found


def _outside() -> Iterator[Path]:
    for named in filter(None, os.environ.get(BUGS_PATH, "").split(os.pathsep)):
        folder = Path(named).absolute()
        if not folder.is_dir():
            raise LookupError(f"{BUGS_PATH} names {folder}, which is no folder")
        yield folder


def _apply_outside(name: str, file: Path) -> None:
    spec = util.spec_from_file_location(f"{__name__}.outside.{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.apply()
