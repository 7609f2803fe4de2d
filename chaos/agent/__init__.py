"""The failpoint agent: lives inside a service and strikes where the controller says.

It is loaded from outside, the service's source does not change. There are two ways in:

- a process that was forked calls :func:`start`;
- a program that is executed has ``chaos/agent/hook`` first on ``PYTHONPATH``; the
  ``sitecustomize`` there starts the agent before the program's first line.

Both read the environment and do nothing when ``CHAOS_CONTROLLER`` is not in it:

==================== ==========================================================================
CHAOS_CONTROLLER     ``host:port`` of the controller
CHAOS_TOKEN          what proves to the controller that we belong to it
CHAOS_TOKEN_FILE     file that holds the token, where the environment can be read by others
CHAOS_SERVICE        name of this service
CHAOS_REQUEST_ID     ``module:function`` that returns the id of the current request, or None
CHAOS_RUN            label of the run, carried by everything that the run starts
CHAOS_MAIN           process id of the service's first process, which puts it there itself
==================== ==========================================================================

The package needs CPython 3.11 or later and nothing but its standard library, and it imports
nothing of the rest of ``chaos``: it must run in any service's interpreter.
"""

from __future__ import annotations

import functools
import os
import sys

from ._agent import Agent

__all__ = ["start", "stop"]

_agent: Agent | None = None


def start() -> None:
    """Connect to the controller and return when everything that it wants armed is in place.

    Bounded to a few seconds. Never raises: the service must run with a broken agent as it runs
    without one, so a failure is one line on standard error.
    """
    global _agent
    address = os.environ.get("CHAOS_CONTROLLER")
    if not address or _agent is not None:
        return
    main = os.environ.get("CHAOS_MAIN") or str(os.getpid())
    os.environ["CHAOS_MAIN"] = main  # for the programs that the service executes
    try:
        _agent = Agent(
            address,
            main=int(main),
            token=os.environ.get("CHAOS_TOKEN") or _from_file(),
            service=os.environ.get("CHAOS_SERVICE", ""),
            request_id_reader=os.environ.get("CHAOS_REQUEST_ID", ""),
        )
        _agent.start()
        _follow_forks()
    except Exception as error:
        sys.stderr.write(f"chaos agent: not started: {type(error).__name__}: {error}\n")
        stop()


def _from_file() -> str:
    path = os.environ.get("CHAOS_TOKEN_FILE")
    if not path:
        return ""
    with open(path) as file:  # noqa: PTH123 - pathlib takes long to import
        return file.read().strip()


def stop() -> None:
    """Put every function back, let every held actor go, and leave the controller."""
    global _agent
    if _agent is not None:
        _agent.stop()
        _agent = None


@functools.cache
def _follow_forks() -> None:
    """Once in a process: there is no way to take it back."""
    os.register_at_fork(after_in_child=_follow)


def _follow() -> None:
    """A fork of the service is a process of the service: it gets an agent of its own."""
    if _agent is not None:
        try:
            _agent.follow()
        except Exception as error:
            sys.stderr.write(f"chaos agent: not in the fork: {type(error).__name__}: {error}\n")
