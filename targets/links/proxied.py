"""A link through a proxy of toxiproxy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from chaos.link import DOWN, Toxic, Traffic, Way
from chaos.safety.undo import Entry
from targets.links.client import NoSuchProxy, Server, ToxiproxyError
from targets.links.log import Log
from targets.links.traffic import connections


@dataclass(frozen=True, slots=True)
class ProxiedLink:
    """The link (:class:`chaos.link.Link`) of ``source`` to the service ``to``.

    ``host:port`` is where its proxy listens, in the network namespace of this process.
    """

    source: str
    to: str
    host: str
    port: int
    server: Server
    log: Log | None = None

    @property
    def name(self) -> str:
        """``SOURCE>SERVICE``."""
        return f"{self.source}>{self.to}"

    def put(self, toxic: Toxic) -> None:
        """Let a toxic act on all connections, those that are open too.

        Raises:
            ToxiproxyError: the server does not answer, or there is such a toxic already.
        """
        if toxic.kind == DOWN:
            self.server.enable(self.name, False)
        else:
            self.server.add(self.name, toxic.name, toxic.kind, toxic.way, toxic.attributes)

    def take(self, toxic: Toxic) -> None:
        """Take it away again; does nothing when it is not there."""
        if toxic.kind == DOWN:
            self.server.enable(self.name)
        else:
            with suppress(NoSuchProxy):
                self.server.remove(self.name, toxic.name)

    def undo_of(self, toxic: Toxic) -> Entry:
        """What takes it away, as long as the server lives."""
        return Take(self.server.host, self.server.port, self.name, toxic.kind, toxic.way)

    def traffic(self) -> Traffic:
        """What has passed until now."""
        there, back = {}, {}
        for connection, came, went in connections(self.port):
            there[connection], back[connection] = came, went
        # Last: whoever is open in the kernel may be accepted a moment later.
        return Traffic(self.log.accepted(self.name) if self.log else 0, there, back)


@dataclass(frozen=True, slots=True)
class Take(Entry):
    """Take a toxic from a proxy; a server that is gone has taken all of them along."""

    host: str
    port: int
    proxy: str
    kind: str
    way: str

    def undo(self) -> None:
        """Take it away."""
        server = Server(self.host, self.port)
        source, _, to = self.proxy.partition(">")
        way: Way = "upstream" if self.way == "upstream" else "downstream"
        try:
            ProxiedLink(source, to, self.host, 0, server).take(Toxic(self.kind, way))
        except NoSuchProxy:
            return
        except ToxiproxyError as error:
            if not _is_gone(error):
                raise


def _is_gone(error: BaseException) -> bool:
    """Whether nobody listens where the server was."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return True
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
    return False
