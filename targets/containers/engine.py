"""The Docker engine: connected to once, with one clear line where that cannot be done."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import docker
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from chaos.errors import TargetError
from chaos.safety.undo import Entry

LABEL = "chaos.run"
"""The label that every container, network and volume of a run carries; its value is the run's."""
_API = "1.41"
"""The version of the engine's interface: that of Docker 20.10, which all later ones speak."""
LIMIT_S = 120.0
"""How long the engine may take for one request, in seconds."""
_REMOVED_S = 60.0
"""For so long it is tried to remove what a dead runner has left: it may be in the making still."""
_WAYS = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
"""The variables that say where the engine is."""


class EngineError(TargetError):
    """The engine is not there, or refuses what it is asked; says what to do."""


def way() -> dict[str, str]:
    """The variables of this environment that say where the engine is."""
    return {name: os.environ[name] for name in _WAYS if name in os.environ}


def connect(by: Mapping[str, str] | None = None) -> Any:
    """A client of the engine that the environment, or ``by``, names (``DOCKER_HOST``).

    Raises:
        EngineError: there is none, or it lets us not in.
    """
    with told("connect"):
        environment = way() if by is None else dict(by)
        _knock(environment.get("DOCKER_HOST") or DEFAULT_UNIX_SOCKET)
        client = docker.from_env(timeout=int(LIMIT_S), version=_API, environment=environment)
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return client


def _knock(url: str) -> None:
    """See whether anybody answers at a socket: the client leaves one open where nobody does.

    Raises:
        DockerException: nobody does.
    """
    scheme, _, path = url.partition("://")
    if scheme not in ("unix", "http+unix"):
        return
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(LIMIT_S)
        try:
            knocking.connect(f"/{path.lstrip('/')}")
        except OSError as error:
            raise DockerException(str(error)) from error


@contextmanager
def told(what: str) -> Iterator[None]:
    """Make one line of what the engine, or the way to it, says.

    Raises:
        EngineError: that line.
    """
    try:
        yield
    except ImageNotFound as error:
        raise EngineError(f"cannot {what}: {_said(error)}; `make containers` makes it") from error
    except APIError as error:
        raise EngineError(f"cannot {what}: {_said(error)}") from error
    except (DockerException, RequestException) as error:
        raise EngineError(f"cannot {what}: {_why(error)}") from error


def _said(error: APIError) -> str:
    return str(error.explanation or error)


def _why(error: BaseException) -> str:
    """Why the engine cannot be talked to, from the innermost cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            return (
                "the Docker engine refuses this user:"
                " be root, or a member of the group `docker` (log in again after joining it)"
            )
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return (
                "no Docker engine answers here: start it (`systemctl start docker`, or `dockerd`),"
                " or name it in DOCKER_HOST"
            )
        cause = cause.__cause__ or cause.__context__
    return f"the Docker engine does not answer: {error}"


@dataclass(frozen=True, slots=True)
class RemoveRun(Entry):
    """Remove all containers, networks and volumes with the label of a run, and nothing else."""

    label: str
    by: dict[str, str] = field(default_factory=way)
    """Where the engine is: whoever undoes it has an environment of his own."""

    def undo(self) -> None:
        """Remove them, until there are none.

        Raises:
            EngineError: the engine does not do so, or cannot be reached.
        """
        client = connect(self.by)
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(EngineError),
                stop=stop_after_delay(_REMOVED_S),
                wait=wait_fixed(0.1),
                reraise=True,
            ):
                with attempt:
                    remove(client, self.label)
                    if found := left(client, self.label):
                        raise EngineError(f"still there: {', '.join(found)}")
        finally:
            client.close()


def remove(client: Any, label: str) -> None:
    """Remove what belongs to a run.

    Raises:
        EngineError: the engine does not do so.
    """
    ours = {"label": f"{LABEL}={label}"}
    with told("remove the containers of the run"):
        for container in client.containers.list(all=True, filters=ours, ignore_removed=True):
            with _gone():
                container.remove(force=True, v=True)
        for network in client.networks.list(filters=ours):
            with _gone():
                network.remove()
        for volume in client.volumes.list(filters=ours):
            with _gone():
                volume.remove(force=True)


@contextmanager
def _gone() -> Iterator[None]:
    """Whoever is being removed by somebody else, or is gone already, is no trouble."""
    try:
        yield
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


def left(client: Any, label: str) -> list[str]:
    """What is there of a run, in words."""
    ours = {"label": f"{LABEL}={label}"}
    with told("look for what is left of the run"):
        found = client.containers.list(all=True, filters=ours, ignore_removed=True)
        return [
            *(f"container {one.name}" for one in found),
            *(f"network {one.name}" for one in client.networks.list(filters=ours)),
            *(f"volume {one.name}" for one in client.volumes.list(filters=ours)),
        ]


def gateway(client: Any) -> str:
    """The address of this machine that containers reach it by.

    Raises:
        EngineError: the engine has no default bridge.
    """
    with told("find the gateway of the default bridge"):
        for config in client.networks.get("bridge").attrs["IPAM"]["Config"] or ():
            # One that has not been used yet tells its subnet only: the first address is its own.
            return str(config.get("Gateway") or ip_network(config["Subnet"])[1])
    raise EngineError("the default bridge of the Docker engine has no gateway: is it switched off?")
