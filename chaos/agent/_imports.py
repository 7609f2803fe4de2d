"""Be told right after a module was imported, without importing it."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ._resolve import find_spec


class ImportWatch:
    """A ``sys.meta_path`` finder that finds nothing itself but watches some modules' import.

    ``on_import`` is called with the module, by the thread that imported it, before the importing
    code goes on. The finder is installed only while there is something to watch.
    """

    def __init__(self, on_import: Callable[[ModuleType], None]) -> None:
        self._on_import = on_import
        self._names: frozenset[str] = frozenset()

    def watch(self, names: frozenset[str]) -> None:
        """Watch these modules and no others."""
        self._names = names
        if names and self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        elif not names and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What the other finders find, with a loader that tells us."""
        if name not in self._names:
            return None
        spec = find_spec(name, path, target, without=self)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _TellingLoader(spec.loader, self._on_import)  # type: ignore[assignment]
        return spec


class _TellingLoader:
    """Another loader, which calls ``on_import`` when the module's code has run."""

    def __init__(self, loader: Any, on_import: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._on_import = on_import

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader  # resources are found through it
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._on_import(module)
