"""What one service of the control plane must know, read from its environment.

======================== ===========================================================================
variable                 meaning
======================== ===========================================================================
REFERENCE_SERVICE        this service's name, e.g. ``volume`` or ``compute-host1``
REFERENCE_RUN_DIR        directory of the databases
REFERENCE_PORT           port that this service listens on (services with an HTTP interface)
REFERENCE_BIND           address that it listens on; ``127.0.0.1`` when not given
REFERENCE_HOST           name of the host (compute and hypervisor)
REFERENCE_BUS            ``address:port`` of our own message broker, or ``amqp://…`` of RabbitMQ
REFERENCE_ENDPOINTS      ``name=url`` of every HTTP service, separated by commas
REFERENCE_BUGS           names of the bug switches that are on, separated by commas
REFERENCE_TOKEN_SECRET   key that signs the tokens, the same in every service
REFERENCE_PASSWORD       of all users (identity); nobody can log in when not given
REFERENCE_DATABASE       URL of a database, ``{name}`` being its name; SQLite files when not given
======================== ===========================================================================
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.engine import make_url

BUS_JOURNAL = "bus.journal"
"""The file in the run directory with the messages that wait."""


class ConfigError(Exception):
    """A variable that this service needs is missing or malformed; the message names it."""


@dataclass(frozen=True, slots=True)
class Config:
    """One service's configuration; a field that this kind of service does not need is empty."""

    service: str
    run_dir: Path
    port: int
    bind: str
    host: str
    bus: str
    endpoints: Mapping[str, str]
    bugs: frozenset[str]
    token_secret: str
    password: str
    database: str

    def endpoint(self, service: str) -> str:
        """Base URL of another service, without a trailing slash.

        Raises:
            ConfigError: REFERENCE_ENDPOINTS does not name it.
        """
        try:
            return self.endpoints[service]
        except KeyError:
            known = ", ".join(sorted(self.endpoints)) or "none"
            raise ConfigError(
                f"REFERENCE_ENDPOINTS names no `{service}`; it names {known}"
            ) from None

    @property
    def bus_token(self) -> str:
        """What a peer of the broker shows first."""
        return bus_token(self.token_secret)

    def database_url(self, name: str) -> URL:
        """SQLAlchemy URL of the database called ``name``."""
        if self.database:
            return make_url(self.database.replace("{name}", name))
        # Not written as text: a path may hold what means something in a URL.
        return URL.create("sqlite", database=str(self.run_dir / f"{name}.sqlite"))


def bus_token(token_secret: str) -> str:
    """Make the broker's token of the key that signs the users' tokens."""
    return hmac.digest(token_secret.encode(), b"bus", "sha256").hex()


def from_environment(environment: Mapping[str, str]) -> Config:
    """Read the configuration out of ``environment``.

    Raises:
        ConfigError: a variable is missing or malformed.
    """
    missing = [
        name
        for name in ("REFERENCE_SERVICE", "REFERENCE_RUN_DIR", "REFERENCE_TOKEN_SECRET")
        if not environment.get(name)
    ]
    if missing:
        raise ConfigError(f"the environment lacks {', '.join(missing)}")
    port = environment.get("REFERENCE_PORT", "0")
    if not port.isdecimal():
        raise ConfigError(f"REFERENCE_PORT must be a number, not {port!r}")
    return Config(
        service=environment["REFERENCE_SERVICE"],
        run_dir=Path(environment["REFERENCE_RUN_DIR"]),
        port=int(port),
        bind=environment.get("REFERENCE_BIND", "127.0.0.1"),
        host=environment.get("REFERENCE_HOST", ""),
        bus=environment.get("REFERENCE_BUS", ""),
        endpoints=_endpoints(environment.get("REFERENCE_ENDPOINTS", "")),
        bugs=frozenset(_words(environment.get("REFERENCE_BUGS", ""))),
        token_secret=environment["REFERENCE_TOKEN_SECRET"],
        password=environment.get("REFERENCE_PASSWORD", ""),
        database=environment.get("REFERENCE_DATABASE", ""),
    )


@cache
def current() -> Config:
    """Read this process's configuration once; never before a warm parent has forked."""
    return from_environment(os.environ)


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def _endpoints(text: str) -> dict[str, str]:
    found = {}
    for word in _words(text):
        name, equals, url = word.partition("=")
        if not equals or not url.startswith("http"):
            raise ConfigError(f"REFERENCE_ENDPOINTS wants name=http://…, not {word!r}")
        found[name] = url.rstrip("/")
    return found
