"""Call another service over HTTP, on behalf of the request that this thread serves."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from targets.reference import config, context

LOG = logging.getLogger(__name__)
TIMEOUT_S = 30.0


class ServiceError(Exception):
    """Another service answered with an error; ``status`` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadRequest(ServiceError):
    """400: what was asked is not possible in the present state."""


class NotFound(ServiceError):
    """404: the record is not there."""


class Conflict(ServiceError):
    """409: somebody else changed it first, or it does not fit."""


class Unreachable(Exception):
    """No answer came: the service is down, or died while it worked on the request.

    Whether the request took effect is not known.
    """


_ERRORS: Mapping[int, type[ServiceError]] = {400: BadRequest, 404: NotFound, 409: Conflict}

# What is repeated when a connection is cut must be safe to do twice. A refused connection sent
# nothing, so any request may try again: a service that restarts is back in some 30 ms.
_RETRIES = urllib3.Retry(
    total=None,
    connect=5,
    read=2,
    other=0,
    redirect=0,
    status=0,
    allowed_methods={"GET", "PUT", "DELETE"},
    backoff_factor=0.02,
    backoff_max=0.5,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other service said: parsed JSON (None when empty) and headers in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str]


class ServiceClient:
    """Requests to one service, from any number of threads, over connections that stay open.

    >>> volumes = ServiceClient("volume")
    >>> volumes.get("/v3/attachments/5ad0")  # doctest: +SKIP
    """

    def __init__(self, service: str, headers: Mapping[str, str] | None = None) -> None:
        self.service = service
        self._headers = dict(headers or {})
        self._lock = threading.Lock()
        self._pool: urllib3.HTTPConnectionPool | None = None

    def get(self, path: str) -> Any:
        """GET ``path`` and return the parsed body; errors as of :meth:`request`."""
        return self.request("GET", path).body

    def post(self, path: str, body: Any = None) -> Any:
        """POST ``body``, never twice, and return the parsed body; errors as of :meth:`request`."""
        return self.request("POST", path, body).body

    def put(self, path: str, body: Any = None) -> Any:
        """PUT ``body`` and return the parsed answer; errors as of :meth:`request`."""
        return self.request("PUT", path, body).body

    def upload(self, path: str, data: bytes) -> None:
        """PUT ``data`` as it is; errors as of :meth:`request`."""
        self.request("PUT", path, data)

    def delete(self, path: str) -> None:
        """DELETE ``path``; errors as of :meth:`request`."""
        self.request("DELETE", path)

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request with the current context's token and request id.

        Raises:
            BadRequest: 400.
            NotFound: 404.
            Conflict: 409.
            ServiceError: any other status from 400 on.
            Unreachable: no answer; it may have taken effect or not.
        """
        headers = {"Accept": "application/json", **self._headers}
        caller = context.current()
        headers["X-OpenStack-Request-Id"] = caller.request_id
        headers["X-Auth-Token"] = caller.token
        if body is not None:
            binary = isinstance(body, bytes)
            headers["Content-Type"] = f"application/{'octet-stream' if binary else 'json'}"
        try:
            response = self._connections().urlopen(
                method,
                path,
                body=_encoded(body),
                headers=headers,
                redirect=False,
            )
        except HTTPError as error:
            raise Unreachable(
                f"{self.service} gave no answer to {method} {path}: {error}"
            ) from error
        if response.status >= 400:
            text = response.data.decode(errors="replace")
            kind = _ERRORS.get(response.status, ServiceError)
            message = f"{self.service} answered {response.status} to {method} {path}: {text}"
            raise kind(message, response.status)
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, json.loads(response.data) if response.data else None, found)

    def _connections(self) -> urllib3.HTTPConnectionPool:
        # Not in the constructor: clients are made at import, before a warm parent forks.
        with self._lock:
            if self._pool is None:
                self._pool = urllib3.connection_from_url(
                    config.current().endpoint(self.service),
                    maxsize=32,
                    timeout=urllib3.Timeout(TIMEOUT_S),
                    retries=_RETRIES,
                )
            return self._pool


def _encoded(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
