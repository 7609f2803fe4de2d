"""A connection of the real ``openstacksdk`` that many actors can share.

Each request carries the id of the actor whose operation it is part of, and ends by that actor's
deadline: both are bound to the thread, never to the connection.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from chaos.operation import OperationFailed, OperationIndeterminate
from targets.cloud.operator import Operator

if TYPE_CHECKING:
    from openstack.connection import Connection
    from requests import Response
    from requests.adapters import HTTPAdapter

_TELL_THE_END = ("content-length", "transfer-encoding", "connection")
"""The headers, of which an answer with a body has one."""
_ENVIRONMENT = Lock()
"""For who changes the environment: there is one for all actors."""
_actor: ContextVar[tuple[str, float]] = ContextVar("actor", default=("", 30.0))


@dataclass(frozen=True, slots=True)
class Balancer:
    """Spreads what is sent to one ``url`` over several servers.

    ``choose`` returns the base URL for the request of an actor, who is told by his request id.
    """

    url: str
    choose: Callable[[str], str]


def _check_whole(answer: Response) -> None:
    """Refuse an answer that was cut within its headers: Python takes it for one without a body.

    Raises:
        RequestException: there is a body, and nothing says where it ends.
    """
    from requests.exceptions import ChunkedEncodingError

    ends = any(name in answer.headers for name in _TELL_THE_END)
    if not ends and answer.status_code not in (204, 304):
        raise ChunkedEncodingError(f"the answer {answer.status_code} was cut within its headers")


def connect(
    clouds_yaml: Path,
    cloud: str,
    operator: Operator | None = None,
    balancer: Balancer | None = None,
    administrator: str = "",
) -> Connection:
    """Connect to ``cloud`` of that file; the SDK's own retries are off.

    The cloud's ``operator`` goes along, for the operations that are his, and so does
    ``administrator()``: a connection to that other cloud of the file, made when it is wanted. So is
    ``found_through(way)``, one to the same cloud by what an SDK finds by itself: a ``clouds.yaml``
    that variables name, or the ``environment`` alone.
    """
    # Imported here, as it takes a tenth of a second and a run without this target needs none of it.
    from keystoneauth1.session import Session
    from openstack.config import OpenStackConfig
    from openstack.connection import Connection

    _silence_the_sdk()

    class ActorsSession(Session):
        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__(*positional, **named)
            self._endpoints: dict[tuple[Any, ...], Any] = {}

        # A cloud's endpoints stay what they are while it runs. To read the whole catalog anew for
        # each request would take as long as all the rest of the client's work.
        def get_endpoint(self, auth: Any = None, **wanted: Any) -> Any:
            return self._kept(super().get_endpoint, auth, wanted)

        def get_endpoint_data(self, auth: Any = None, **wanted: Any) -> Any:
            return self._kept(super().get_endpoint_data, auth, wanted)

        def _kept(self, find: Callable[..., Any], auth: Any, wanted: dict[str, Any]) -> Any:
            key = (find.__name__, auth, repr(sorted(wanted.items())))
            if key not in self._endpoints:
                found = find(auth, **wanted)
                if found is None:
                    return None
                self._endpoints[key] = found
            return self._endpoints[key]

        def request(  # type: ignore[override]
            self, url: str, method: str, **options: Any
        ) -> Any:
            request_id, timeout_s = _actor.get()
            if request_id and not options.get("global_request_id"):
                options["global_request_id"] = request_id
            options.setdefault("timeout", timeout_s)
            options.setdefault("proxies", {"no_proxy": _asked_directly()})
            answer = super().request(url, method, **options)
            if method != "HEAD":
                _check_whole(answer)
            return answer

    found = OpenStackConfig(
        config_files=[str(clouds_yaml)],
        vendor_files=[],
        secure_files=[],
        load_envvars=False,
        session_constructor=ActorsSession,
    )

    def connection_to(name: str) -> Connection:
        connection = Connection(config=found.get_one(name))
        if balancer:
            connection.session.session.mount(balancer.url, _adapter(balancer))
        return connection

    def found_through(way: str) -> Connection:
        if way == "environment":
            said = found.get_one(cloud).config
            known = {**said["auth"], "region_name": said["region_name"]}
            variables = {f"OS_{name.upper()}": value for name, value in known.items() if value}
            # Nor does a file that lies about say anything.
            variables["OS_CLIENT_CONFIG_FILE"] = os.devnull
        else:
            variables = {"OS_CLIENT_CONFIG_FILE": str(clouds_yaml), "OS_CLOUD": cloud}
        with _environment(variables):
            config = OpenStackConfig(session_constructor=ActorsSession)
            connection = Connection(config=config.get_one())
        if balancer:
            connection.session.session.mount(balancer.url, _adapter(balancer))
        return connection

    connection = connection_to(cloud)
    connection.found_through = cache(found_through)  # type: ignore[attr-defined]
    connection.operator = operator  # type: ignore[attr-defined]
    connection.administrator = cache(partial(connection_to, administrator))  # type: ignore[attr-defined]
    return connection


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Have these variables of the SDK, and no others, for the length of the block."""
    with _ENVIRONMENT:
        kept = {name: value for name, value in os.environ.items() if name.startswith("OS_")}
        for name in kept:
            del os.environ[name]
        os.environ.update(variables)
        try:
            yield
        finally:
            for name in variables:
                del os.environ[name]
            os.environ.update(kept)


def _adapter(balancer: Balancer) -> HTTPAdapter:
    from keystoneauth1.session import TCPKeepAliveAdapter

    class Balancing(TCPKeepAliveAdapter):
        def send(self, request: Any, *positional: Any, **named: Any) -> Any:
            base = balancer.choose(_actor.get()[0])
            request.url = base + request.url.removeprefix(balancer.url)
            return super().send(request, *positional, **named)

    return Balancing()


def _asked_directly() -> str:
    """Hosts that are never asked through a proxy: this machine is not beyond any."""
    said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return ",".join(filter(None, (said, "127.0.0.0/8", "localhost", "::1")))


@contextmanager
def acting_as(request_id: str, deadline_s: float) -> Iterator[None]:
    """Send this thread's requests under ``request_id``, each for at most ``deadline_s`` seconds.

    Raises:
        OperationFailed: the cloud answered with an error; carries its status.
        OperationIndeterminate: no answer came, or not all of it.
    """
    from keystoneauth1.exceptions import (
        ConnectionError,
        DiscoveryFailure,
        HttpError,
        RetriableConnectionFailure,
    )
    from openstack.exceptions import (
        HttpException,
        NotSupported,
        SDKException,
        ServiceDiscoveryException,
    )
    from requests.exceptions import RequestException

    _silence_the_sdk()
    reset = _actor.set((request_id, deadline_s))
    try:
        yield
    except HttpException as error:  # first: it is a RequestException too
        raise OperationFailed(_readable(error), error.status_code) from error
    except HttpError as error:  # of the identity service, whom only the session asks
        raise OperationFailed(str(error), error.http_status) from error
    except (
        ConnectionError,
        RetriableConnectionFailure,
        RequestException,
        # What the SDK makes of a service that did not say which versions it has.
        DiscoveryFailure,
        NotSupported,
        ServiceDiscoveryException,
    ) as error:
        raise OperationIndeterminate(f"no answer: {error}") from error
    except SDKException as error:
        raise OperationFailed(str(error)) from error
    finally:
        _actor.reset(reset)


def _silence_the_sdk() -> None:
    """Drop what the SDK says of its own future: with ``-W error`` that would end a plan.

    Again and again, as pytest gives each test filters of its own; `catch_warnings` is no way, as
    actors are threads.
    """
    warnings.filterwarnings("ignore", module=r"openstack(\.|$)")


def _readable(error: Any) -> str:
    if error.status_code is None:
        return str(error)
    return f"{error.status_code} to {error.request.method} {error.url}: {error.details}"
