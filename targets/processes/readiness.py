"""How the runner finds out that a service is ready, where it has to look for itself."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from chaos.target import Service
from targets.topology import Asked, HttpOk, Listening, LogLine, Readiness

_LOOPBACK = "127.0.0.1"

Look = Callable[[float], str]
"""Looks once, for so many seconds at most; says in a few words what it saw instead, "" if ready."""


class HasPorts(Protocol):
    """A target that knows the ports of its topology."""

    def port(self, name: str) -> int:
        """The number of a port."""


def look_for(ready: Readiness, target: HasPorts, service: Service, log_begin: int) -> Look | None:
    """How to look whether a service is ready; None when it will be told.

    ``log_begin`` is the size of its log, in bytes, from before it was started.
    """
    match ready:
        case Listening(port):
            return partial(_connect, target.port(port))
        case HttpOk(port, path):
            return partial(_get, target.port(port), path)
        case LogLine(pattern):
            return _Lines(service.log, log_begin, re.compile(pattern))
        case Asked(function):
            return partial(_ask, partial(function, target, service))
        case _:
            return None


def _connect(port: int, timeout_s: float) -> str:
    try:
        socket.create_connection((_LOOPBACK, port), timeout_s).close()
    except OSError as error:
        return f"{_LOOPBACK}:{port}: {error}"
    return ""


def _get(port: int, path: str, timeout_s: float) -> str:
    # Unlike urllib and its kin, http.client never asks the environment for a proxy.
    with closing(http.client.HTTPConnection(_LOOPBACK, port, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            return f"{_LOOPBACK}:{port}: {error!r}"
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    return f"{answer.status} {answer.reason}"


class _Lines:
    """Looks at each line of a log once, when it is whole."""

    def __init__(self, log: Path, begin: int, pattern: re.Pattern[str]) -> None:
        self._log = log
        self._at = begin
        self._pattern = pattern
        self._last = "no line"

    def __call__(self, timeout_s: float) -> str:
        if not self._log.exists():
            return self._last
        with self._log.open("rb") as file:
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        if end:
            self._at += len(whole) + 1
            lines = whole.decode(errors="replace").split("\n")
            if any(map(self._pattern.search, lines)):
                return ""
            self._last = repr(lines[-1])
        return self._last


def _ask(function: Callable[[], bool], timeout_s: float) -> str:
    try:
        return "" if function() else "no"
    except Exception as error:
        return repr(error)
