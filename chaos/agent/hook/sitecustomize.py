"""Starts the failpoint agent in any Python program that has this directory on ``PYTHONPATH``.

The interpreter imports ``sitecustomize`` before the program's first line. The one that this file
hides is run as if this file were not there. The agent is loaded by its path: ``chaos`` need not be
installed for that interpreter.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _start_agent() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - we run in whatever interpreter executes us
        raise RuntimeError("CPython 3.11 or later is needed, this is " + sys.version.split()[0])
    package = os.path.dirname(_HERE)  # noqa: PTH120 - pathlib takes long to import
    spec = importlib.util.spec_from_file_location(
        "_chaos_agent",
        os.path.join(package, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[package],
    )
    assert spec is not None
    assert spec.loader is not None
    agent = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = agent
    spec.loader.exec_module(agent)
    agent.start()


def _run_shadowed() -> None:
    path = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120

if os.environ.get("CHAOS_CONTROLLER"):
    try:
        _start_agent()
    except BaseException as _error:  # the program must run with a broken agent as without one
        sys.stderr.write("chaos agent: not loaded: %s: %s\n" % (type(_error).__name__, _error))  # noqa: UP031
_run_shadowed()
