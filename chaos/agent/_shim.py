"""The code that stands in for an armed function's own.

A function's ``__code__`` can be replaced in place, so every holder of the function object sees the
change, those that imported it by name included. CPython demands as many free variables as before
(``super()`` and closures use them). The stand-in also keeps the parameters, so binding arguments,
defaults, ``inspect.signature`` and the message of a wrong call stay the function's own; and it
stays a coroutine or generator function when it was one. It knows its dispatcher as a constant: the
module's globals are left alone.
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType
from typing import Any

_COROUTINE, _GENERATOR, _VARARGS, _VARKEYWORDS = 0x80, 0x20, 0x04, 0x08
_DISPATCHER = "\0dispatcher"  # no identifier and hardly anyone's string


def shim(code: CodeType, dispatcher: Any) -> CodeType:
    """Code that takes what ``code`` takes and hands it to a method of ``dispatcher``.

    The method is ``call``, ``call_async`` or ``call_generator``; it gets the positional arguments
    as a tuple and those by keyword as a dict.
    """
    template = _template(
        code.co_posonlyargcount,
        code.co_argcount,
        code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount],
        code.co_flags & (_COROUTINE | _GENERATOR | _VARARGS | _VARKEYWORDS),
        len(code.co_freevars),
    )
    return template.replace(
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,  # a traceback shows the function's own first line
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_varnames=code.co_varnames[: template.co_nlocals],
        co_freevars=code.co_freevars,
        co_consts=tuple(dispatcher if c == _DISPATCHER else c for c in template.co_consts),
    )


@functools.cache
def _template(
    positional_only: int,
    positional: int,
    keyword_only: tuple[str, ...],
    flags: int,
    free: int,
) -> CodeType:
    """The stand-in with names of our own (``p0``, ``k0``, ``f0``), so that none can clash."""
    import ast  # only here: a service that is never armed need not load it

    parameters = [f"p{i}" for i in range(positional)]
    arguments = [*parameters]
    if positional_only:
        parameters.insert(positional_only, "/")
    if flags & _VARARGS:
        parameters.append("*args")
        arguments.append("*args")
    elif keyword_only:
        parameters.append("*")
    parameters += [f"k{i}" for i in range(len(keyword_only))]
    keywords = [f"{name!r}: k{i}" for i, name in enumerate(keyword_only)]
    if flags & _VARKEYWORDS:
        parameters.append("**keywords")
        keywords.append("**keywords")

    define, begin, method = "def", "", "call"
    if flags & _COROUTINE:
        define, begin, method = "async def", "await ", "call_async"
    elif flags & _GENERATOR:
        begin, method = "yield from ", "call_generator"
    cells = ", ".join(f"f{i}" for i in range(free))
    tree = ast.parse(
        f"def cells({cells}):\n"
        f" {define} shim({', '.join(parameters)}):\n"
        f"  return ({begin}{_DISPATCHER!r}.{method}"
        f"(({''.join(a + ', ' for a in arguments)}), {{{', '.join(keywords)}}}))\n"
        f"  ({cells})"  # never reached; it makes them free variables
    )
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):  # all of it is in the first line, in no columns
            node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = -1  # type: ignore[attr-defined]
    scope = compile(tree, "", "exec", dont_inherit=True)
    cells_code = next(c for c in scope.co_consts if isinstance(c, CodeType))
    return next(c for c in cells_code.co_consts if isinstance(c, CodeType))


def twin(function: FunctionType) -> FunctionType:
    """Another function object with the same code, for calling the original while it is armed."""
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
