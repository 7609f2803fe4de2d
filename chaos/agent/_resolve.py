"""From a point's name to the function it means, or one clear error with the nearest names."""

from __future__ import annotations

import functools
import importlib.machinery
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_ASYNC_GENERATOR = 0x200
_ITERABLE_COROUTINE = 0x100
_ABSENT = object()


class Unresolvable(Exception):
    """A name means no function that can be armed; the message ends with the nearest ones."""


def find_function(module: ModuleType, path: str) -> FunctionType:
    """The plain function behind ``Class.method`` in a module: what descriptors wrap is unwrapped.

    Raises:
        Unresolvable: there is no such name, or it is not a function written in Python.
    """
    owner: Any = module
    walked: list[str] = []
    for name in path.split("."):
        found = _defined(owner, name)
        if found is _ABSENT:
            names = _attributes(owner)
            raise Unresolvable(
                f"`{':'.join([module.__name__, '.'.join(walked)]).rstrip(':')}` has no `{name}`"
                + nearest(name, names, f"{module.__name__}:{''.join(w + '.' for w in walked)}")
            )
        owner = found
        walked.append(name)
    return _unwrapped(owner, f"{module.__name__}:{path}")


def _defined(owner: Any, name: str) -> Any:
    """What a module, class or object defines under a name, without running descriptors."""
    if isinstance(owner, ModuleType):
        return vars(owner).get(name, _ABSENT)
    if not isinstance(owner, type):
        own = (_attribute(owner, "__dict__") or {}).get(name, _ABSENT)
        if own is not _ABSENT:
            return own
    for defining in (owner if isinstance(owner, type) else type(owner)).__mro__:
        if name in vars(defining):
            return vars(defining)[name]
    # Also what an object makes up when it is asked, as a proxy does.
    made_up = None if isinstance(owner, type) else _attribute(owner, name)
    return _ABSENT if made_up is None else made_up


def _attributes(owner: Any) -> list[str]:
    """The names that a module, class or object defines."""
    if isinstance(owner, ModuleType):
        return list(vars(owner))
    classes = (owner if isinstance(owner, type) else type(owner)).__mro__
    own = {} if isinstance(owner, type) else _attribute(owner, "__dict__") or {}
    return list(dict.fromkeys(name for names in (*map(vars, classes), own) for name in names))


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:  # whatever the service's own code raises
        return None


def _unwrapped(found: Any, name: str) -> FunctionType:
    if isinstance(found, (staticmethod, classmethod)):
        return _unwrapped(found.__func__, name)
    if isinstance(found, property):
        return _unwrapped(found.fget, name)
    if isinstance(found, (functools.cached_property, functools.partial)):
        return _unwrapped(found.func, name)
    if isinstance(found, MethodType):
        return _unwrapped(found.__func__, name)
    if isinstance(found, type):
        raise Unresolvable(f"`{name}` is a class: name one of its methods, e.g. `{name}.__init__`")
    if not isinstance(found, FunctionType):
        wrapped = _attribute(found, "__wrapped__")  # as functools.lru_cache and wrapt have it
        if wrapped is not None:
            return _unwrapped(wrapped, name)
        kind = type(found).__name__
        is_object = callable(found) and not isinstance(found, BuiltinFunctionType)
        hint = "; name one of its methods" if is_object else ""
        raise Unresolvable(f"`{name}` is not a function written in Python but a {kind}{hint}")
    if found.__code__.co_flags & _ASYNC_GENERATOR:
        raise Unresolvable(f"`{name}` is an async generator: arm a function that it calls")
    if found.__code__.co_flags & _ITERABLE_COROUTINE:
        raise Unresolvable(f"`{name}` is a generator-based coroutine: arm a function that it calls")
    return found


def find_spec(
    name: str, path: Any = None, target: Any = None, *, without: object = None
) -> importlib.machinery.ModuleSpec | None:
    """What the import system, but for one finder, would load; nothing is imported."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)  # ancient finders have none
        if find is not None and finder is not without:
            spec: importlib.machinery.ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
    return None


def check_importable(name: str) -> None:
    """Make sure that a module which is not imported yet could be.

    Raises:
        Unresolvable: no finder knows it.
    """
    path: Any = None
    walked = ""
    for part in name.split("."):
        parent, walked = walked, f"{walked}.{part}".lstrip(".")
        if walked in sys.modules:
            path = getattr(sys.modules[walked], "__path__", ())
            continue
        spec = find_spec(walked, path)
        if spec is None:
            where = f"`{parent}` has no module `{part}`" if parent else f"no module `{part}`"
            raise Unresolvable(where + nearest(part, _modules(path), f"{parent}.".lstrip(".")))
        path = spec.submodule_search_locations or ()


def _modules(path: Any) -> list[str]:
    import pkgutil

    return [module.name for module in pkgutil.iter_modules(path)]


def nearest(word: str, names: Iterable[str], prefix: str) -> str:
    """What may have been meant, as the end of a message."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(names), n=3, cutoff=0.6)
    if not close:
        return ""
    return "; did you mean " + " or ".join(f"`{prefix}{name}`" for name in close) + "?"
