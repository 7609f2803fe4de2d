"""A client of one toxiproxy server, over the package ``toxiproxy-python``.

That package knows one server for the whole process, waits without end, takes an error 500 for an
answer and cannot change a toxic. Here each client has a server of its own, every request ends by a
deadline, every answer is checked, and :meth:`Server.update` is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.proxy import Proxy
from toxiproxy.toxic import Toxic

from chaos.errors import ChaosError

LIMIT_S = 10.0
"""How long the server may take for an answer, in seconds."""

_DIRECTLY = {"http": None, "all": None}
"""Whatever proxy leads away from this machine."""


class ToxiproxyError(ChaosError):
    """The server does not answer, or refuses what it is asked; says what it said."""


class NoSuchProxy(ToxiproxyError):
    """There is no proxy, or no toxic, of that name."""


class Server:
    """The toxiproxy server whose API is at ``host:port``; any thread may use it."""

    def __init__(self, host: str, port: int, limit_s: float = LIMIT_S) -> None:
        self.host = host
        self.port = port
        self._limit_s = limit_s
        # The package keeps host and port in the class: so each client has a class of its own.
        self._api = type("_Api", (APIConsumer,), {"host": host, "port": port})

    def version(self) -> str:
        """The server's own version.

        Raises:
            ToxiproxyError: it does not answer.
        """
        return str(self._ask("get", "/version")["version"])

    def proxies(self) -> Mapping[str, Proxy]:
        """All proxies by name."""
        found = self._ask("get", "/proxies")
        return {name: Proxy(**told) for name, told in found.items()}

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> Mapping[str, Proxy]:
        """Make all of these (``name``, ``listen``, ``upstream``), or put them right, at once."""
        told = [{"enabled": True, **proxy} for proxy in proxies]
        made = self._ask("post", "/populate", json=told)["proxies"]
        return {proxy["name"]: Proxy(**proxy) for proxy in made}

    def enable(self, proxy: str, enabled: bool = True) -> None:
        """Have a proxy listen; or refuse every connection, and cut those that are open."""
        self._ask("post", f"/proxies/{proxy}", json={"enabled": enabled})

    def toxics(self, proxy: str) -> Mapping[str, Toxic]:
        """The toxics of a proxy by name."""
        return {told["name"]: Toxic(**told) for told in self._ask("get", _toxics(proxy))}

    def add(
        self, proxy: str, name: str, kind: str, stream: str, attributes: Mapping[str, int]
    ) -> Toxic:
        """Put a toxic on all connections of a proxy, those that are open too.

        Raises:
            ToxiproxyError: there is one of that name, or the server knows no such kind.
        """
        told = {"name": name, "type": kind, "stream": stream, "attributes": dict(attributes)}
        return Toxic(**self._ask("post", _toxics(proxy), json=told))

    def update(self, proxy: str, name: str, attributes: Mapping[str, int]) -> Toxic:
        """Give a toxic other attributes; those that are not named stay."""
        told = {"attributes": dict(attributes)}
        return Toxic(**self._ask("post", f"{_toxics(proxy)}/{name}", json=told))

    def remove(self, proxy: str, name: str) -> None:
        """Take a toxic away.

        Raises:
            NoSuchProxy: it is not there.
        """
        self._ask("delete", f"{_toxics(proxy)}/{name}")

    def _ask(self, verb: str, path: str, **what: Any) -> Any:
        try:
            answer = getattr(self._api, verb)(
                path, timeout=self._limit_s, proxies=_DIRECTLY, **what
            )
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except NotFound as error:
            raise NoSuchProxy(f"{self}: {_said(error)} ({path})") from error
        except (ProxyExists, InvalidToxic) as error:
            raise ToxiproxyError(f"{self}: {_said(error)} ({path})") from error
        except (requests.RequestException, ValueError) as error:
            raise ToxiproxyError(f"{self} gave no good answer to {verb} {path}: {error}") from error

    def __str__(self) -> str:
        return f"toxiproxy at {self.host}:{self.port}"


def _toxics(proxy: str) -> str:
    return f"/proxies/{proxy}/toxics"


def _said(error: Exception) -> str:
    """What the server said: the package hands its bytes on."""
    said = error.args[0] if error.args else b""
    return (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip()
