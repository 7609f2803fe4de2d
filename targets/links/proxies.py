"""One toxiproxy server, a process of this machine, and the links that lead through it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from chaos.errors import TargetError
from chaos.safety.procfs import LABEL
from chaos.safety.program import Launch, Launched, Program
from targets.links.client import Server, ToxiproxyError
from targets.links.log import Log
from targets.links.proxied import ProxiedLink

VARIABLE = "CHAOS_TOXIPROXY"
"""Environment variable with the path of the toxiproxy server; empty: there shall be none."""
_PROGRAM = "toxiproxy-server"
_HOST = "127.0.0.1"


def binary() -> str:
    """The toxiproxy server of this machine; '' when there is none, or shall be none.

    Raises:
        TargetError: the variable names no program.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return shutil.which(_PROGRAM) or ""
    if named and not shutil.which(named):
        raise TargetError(f"{VARIABLE} names {named}, which is no program that can be executed")
    return named


class Proxies(Mapping[str, ProxiedLink]):
    """The links by name; their names are known before they are there (:meth:`open`).

    Each proxy has a port of its own, held for as long as this is open: while the link is down
    nobody takes it. All of them listen on ``host``.
    """

    def __init__(self, links: Iterable[tuple[str, str]], host: str = _HOST) -> None:
        self._names = tuple(links)
        self.host = host
        self._open: dict[str, ProxiedLink] = {}
        self._held = ExitStack()
        self._process: Launched | None = None

    def open(
        self,
        upstreams: Mapping[str, str],
        run_dir: Path,
        label: str,
        launch: Launch,
        limit_s: float,
    ) -> None:
        """Start the server, and a proxy for each link; ``upstreams`` are addresses by name.

        Raises:
            TargetError: it does not start, or not in ``limit_s`` seconds.
        """
        log = run_dir / "logs" / "toxiproxy.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        api = self._hold(_HOST)
        program = (binary(), "-host", _HOST, "-port", str(api))
        environment = {LABEL: label, "LOG_LEVEL": "info"}
        try:
            self._process = launch(Program(program, environment, log))
            server = Server(_HOST, api)
            self._wait(server, log, limit_s)
            told = Log(log)
            found = {
                f"{source}>{to}": ProxiedLink(
                    source, to, self.host, self._hold(self.host), server, told
                )
                for source, to in self._names
            }
            server.populate(
                {
                    "name": name,
                    "listen": f"{link.host}:{link.port}",
                    "upstream": upstreams[link.to],
                }
                for name, link in found.items()
            )
        except (OSError, ToxiproxyError) as error:
            self.close()
            raise TargetError(f"the links cannot be laid through toxiproxy: {error}") from error
        self._open = found

    def close(self) -> None:
        """End the server and let go of all ports; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.close()
        self._open = {}
        self._held.close()

    def __getitem__(self, name: str) -> ProxiedLink:
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return (f"{source}>{to}" for source, to in self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _hold(self, host: str) -> int:
        holder = self._held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, 0))
        port: int = holder.getsockname()[1]
        return port

    def _wait(self, server: Server, log: Path, limit_s: float) -> None:
        looking = Retrying(
            retry=retry_if_exception_type(ToxiproxyError),
            stop=stop_after_delay(limit_s),
            wait=wait_fixed(0.005),
        )
        try:
            looking(server.version)
        except RetryError as error:
            said = log.read_text(errors="replace")[-1000:] if log.exists() else ""
            raise TargetError(
                f"toxiproxy did not answer within {limit_s:g} s; its log ends with:\n{said}"
            ) from error
