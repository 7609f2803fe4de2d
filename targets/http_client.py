"""A client of a system that is asked by HTTP, in JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from chaos.operation import OperationFailed, OperationIndeterminate, Scope

LOST = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""What a server says that was itself left without an answer."""


@dataclass(frozen=True, slots=True)
class HttpClient:
    """Asks one server, and says of each answer what it means for a plan.

    It is one of this machine where no other ``host`` is said. A status of 400 and more:
    :class:`OperationFailed`, a clear no. Nobody listens, a cut
    connection, no answer in time, or a status of ``lost``: :class:`OperationIndeterminate`, which a
    plan that took the server away does not judge. The
    request id of the scope travels in the header ``request_id_header``, beside ``headers``. Any
    thread may ask.
    """

    port: int
    request_id_header: str = "X-Request-Id"
    lost: Collection[int] = LOST
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def get(self, scope: Scope, path: str) -> Any:
        """The answer to ``GET path``."""
        return self.ask(scope, "GET", path)

    def post(self, scope: Scope, path: str, body: Any = None) -> Any:
        """The answer to ``POST path`` with ``body`` as JSON."""
        return self.ask(scope, "POST", path, body)

    def ask(self, scope: Scope, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request: what its JSON says, the text of another answer, None for none.

        Raises:
            OperationFailed: it was refused.
            OperationIndeterminate: the answer was lost, or nobody listens.
        """
        what = f"{method} {path}"
        headers = dict(self.headers)
        if scope.request_id:
            headers[self.request_id_header] = scope.request_id
        link = HTTPConnection(self.host, self.port, timeout=scope.deadline_s)
        with closing(link):
            try:
                link.request(method, path, _encoded(body), headers | _type_of(body))
                response = link.getresponse()
                content = response.read()
            except ConnectionRefusedError as error:
                raise OperationIndeterminate(
                    f"{what}: nobody listens on port {self.port}"
                ) from error
            except (OSError, HTTPException) as error:
                raise OperationIndeterminate(f"{what}: {error!r}") from error
        answer = _decoded(content)
        told = f"{what}: {response.status} {response.reason}: {answer}"
        if response.status in self.lost:
            raise OperationIndeterminate(told)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise OperationFailed(told, response.status)
        return answer


def _type_of(body: Any) -> dict[str, str]:
    return {} if body is None else {"Content-Type": "application/json"}


def _encoded(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode(errors="replace")
