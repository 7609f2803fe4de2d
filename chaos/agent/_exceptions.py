"""Exceptions as a plan describes them.

A description is ``{exception, message}`` or ``{exception, arguments}``: the constructor is called
with the message, or with the arguments, a list or a mapping. A mapping with an ``exception`` among
them is a description in turn.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ._resolve import Unresolvable, check_importable, nearest


def check_exception(described: Mapping[str, Any], *, started: bool) -> None:
    """Make sure that it can be made, as far as that can be known without an import.

    Raises:
        Unresolvable: it cannot.
    """
    names = list(_names(described))
    unknown = [name for name in names if _find(name) is None]
    for name in unknown:
        if started:
            check_importable(name.rpartition(":")[0])
    if not unknown:
        make_exception(described)


def make_exception(described: Mapping[str, Any]) -> Exception:
    """A new exception; modules are imported if need be.

    Raises:
        Unresolvable: a class cannot be imported, or nothing be made of it.
    """
    name = described["exception"]
    kind = _imported(name)
    arguments = described.get("arguments")
    if arguments is None:
        arguments = [described.get("message", "")]
    try:
        if isinstance(arguments, Mapping):
            made = kind(**{key: _value(argument) for key, argument in arguments.items()})
        else:
            made = kind(*map(_value, arguments))
        str(made)  # the service is going to
    except Unresolvable:
        raise
    except Exception as error:
        hint = "" if described.get("arguments") else "; its `arguments` may help"
        why = f"{type(error).__name__}: {error}"
        raise Unresolvable(f"`{name}` cannot be made: {why}{hint}") from error
    return made


def _value(argument: Any) -> Any:
    if isinstance(argument, Mapping) and "exception" in argument:
        return make_exception(argument)
    return [_value(one) for one in argument] if isinstance(argument, list) else argument


def _names(described: Any) -> Iterator[str]:
    if isinstance(described, Mapping):
        if "exception" in described:
            yield described["exception"]
        for value in described.values():
            yield from _names(value)
    elif isinstance(described, list):
        for value in described:
            yield from _names(value)


def _imported(name: str) -> type[Exception]:
    try:
        kind = _find(name)
        if kind is None:
            importlib.import_module(name.rpartition(":")[0])
            kind = _find(name)
        assert kind is not None
    except Unresolvable:
        raise
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise Unresolvable(
            f"`{name}` cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return kind


def _find(name: str) -> type[Exception] | None:
    """The class that ``module:Class``, or the name of a builtin, means; None: not imported yet."""
    module_name, _, class_name = name.rpartition(":")
    module = sys.modules.get(module_name or "builtins")
    if module is None:
        return None
    candidates = {n: c for n, c in vars(module).items() if _is_exception(c)}
    if class_name not in candidates:
        prefix = f"{module_name}:" if module_name else ""
        raise Unresolvable(f"`{name}` is no exception" + nearest(class_name, candidates, prefix))
    found: type[Exception] = candidates[class_name]
    return found


def _is_exception(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Exception)
