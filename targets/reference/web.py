"""The HTTP side of a service: routes to plain functions, each run in its connection's thread.

A handler takes a :class:`Request` and returns a dict (200), a :class:`Reply`, or None (204); it
runs with the caller's :mod:`context <targets.reference.context>` current. It is synchronous and has
its thread to itself, so a request that is held at some point holds nothing but itself.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from starlette.datastructures import QueryParams

from targets.reference import context, tokens
from targets.reference.config import Config
from targets.reference.context import RequestContext
from targets.reference.http_server import MAX_BODY_BYTES, Answer, Asked, HttpServer
from targets.reference.quiet import Quiet

LOG = logging.getLogger(__name__)
BINARY = "application/octet-stream"


class HttpError(Exception):
    """Answer the request with an error; raise it anywhere in a handler.

    ``code`` is the service's own word for it, where it has one (``VolumeNotFound``).
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def not_found(what: str, key: str, code: str = "") -> HttpError:
    """Make the 404 for a missing record."""
    return HttpError(404, f"{what} {key} could not be found.", code)


Headers = Mapping[str, str]
ErrorBody = Callable[[HttpError], dict[str, Any]]

_FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def fault_body(error: HttpError) -> dict[str, Any]:
    """Put an error into the shape of the compute and volume services."""
    name = _FAULT_NAMES.get(error.status, "computeFault")
    return {name: {"code": error.status, "message": error.message}}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked.

    ``base`` is this service's URL as the client knows it, without a trailing slash; ``path`` holds
    the route's parameters, ``headers`` have names in lower case, ``body`` is the parsed JSON, or
    the bytes of what says that it is no text.
    """

    method: str
    base: str
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: Any = None

    def body_of(self, name: str) -> dict[str, Any]:
        """Return the object called ``name`` in the body.

        Raises:
            HttpError: 400, there is none.
        """
        found = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(found, dict):
            raise HttpError(400, f"The body must hold an object called '{name}'.")
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not just a 200 with a body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Reply | dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Route:
    """What serves a method of a path; ``path`` is as it was written, ``pattern`` matches it."""

    method: str
    path: str
    pattern: re.Pattern[str]
    public: bool
    allowed: Callable[[], None]
    handler: Handler


class Api:
    """The routes of one service, filled by decorating handlers.

    ``error_body`` gives errors the service's own shape; ``headers`` go along with every answer, as
    the microversion does.
    """

    def __init__(
        self,
        error_body: ErrorBody = fault_body,
        headers: Callable[[Headers], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self.error_body = error_body
        self._headers = headers
        self._routes: dict[int, list[Route]] = {}
        """By the number of slashes in the path: a request is compared with few of them."""

    def route(
        self,
        method: str,
        path: str,
        *,
        public: bool = False,
        allowed: Callable[[], None] = lambda: None,
    ) -> Callable[[Handler], Handler]:
        """Serve ``method path`` by the decorated function; ``public`` asks for no token.

        ``allowed`` is called first, on behalf of who asks: it raises what refuses him.
        """
        parts = (re.escape(part) for part in path.split("/"))
        pattern = re.compile("/".join(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", p) for p in parts))

        def register(handler: Handler) -> Handler:
            route = Route(method, path, pattern, public, allowed, handler)
            self._routes.setdefault(path.count("/"), []).append(route)
            return handler

        return register

    @property
    def routes(self) -> list[Route]:
        """All of them."""
        return [route for routes in self._routes.values() for route in routes]

    def respond(self, asked: Asked) -> Answer:
        """Have a request served by its route."""
        method = "GET" if asked.method == "HEAD" else asked.method
        wrong = HTTPStatus.NOT_FOUND
        for route in self._routes.get(asked.path.count("/"), ()):
            found = route.pattern.fullmatch(asked.path)
            if found is not None:
                if route.method in (method, asked.method):
                    return self._serve(route, asked, found.groupdict())
                wrong = HTTPStatus.METHOD_NOT_ALLOWED
        return self._error(HttpError(wrong, wrong.phrase))

    def _serve(self, route: Route, asked: Asked, path: Mapping[str, str]) -> Answer:
        headers = asked.headers
        request_id = headers.get("x-openstack-request-id") or context.new_request_id()
        with context.use(RequestContext(request_id)) as anonymous:
            try:
                caller = anonymous if route.public else _authenticated(headers, request_id)
                request = Request(
                    asked.method, f"http://{headers.get('host', '')}", path,
                    QueryParams(asked.query), headers, _parsed(asked.body, headers),
                )  # fmt: skip
                with context.use(caller):
                    route.allowed()
                    answer = _answer(route.handler(request))
            except HttpError as error:
                answer = self._error(error)
            except Exception:
                LOG.exception("%s %s failed", asked.method, asked.path)
                answer = self._error(HttpError(500, "The request failed unexpectedly."))
        answer.headers.update(self._headers(headers))
        answer.headers["x-openstack-request-id"] = request_id
        answer.headers["x-compute-request-id"] = request_id
        return answer

    def _error(self, error: HttpError) -> Answer:
        return _json(error.status, self.error_body(error))


def _authenticated(headers: Headers, request_id: str) -> RequestContext:
    encoded = headers.get("x-auth-token", "")
    try:
        token = tokens.verify(encoded)
    except tokens.InvalidToken as error:
        raise HttpError(
            401, f"The request you have made requires authentication: {error}"
        ) from None
    return RequestContext(request_id, token.project_id, token.user_id, encoded, token.roles)


def _parsed(raw: bytes | None, headers: Headers) -> Any:
    if raw is None:
        raise HttpError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
    if headers.get("content-type") == BINARY:
        return raw
    if not raw:
        return None
    if "json" not in headers.get("content-type", "json").lower():
        raise HttpError(415, "Unsupported Content-Type: the body must be JSON.")
    try:
        found = json.loads(raw)
        if b"\\u" in raw:  # half a surrogate pair is no character, and no database keeps one
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"The body is not JSON: {error}") from None
    return found


def _answer(reply: Reply | dict[str, Any] | None) -> Answer:
    if reply is None:
        return Answer(204)
    if isinstance(reply, Reply):
        return _json(reply.status, reply.body, reply.headers)
    return _json(200, reply)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    answer = Answer(status, headers={**(headers or {})})
    if isinstance(body, bytes):
        answer.headers["content-type"] = BINARY
        return replace(answer, body=body)
    if body is None:
        return answer
    answer.headers["content-type"] = "application/json"
    return replace(answer, body=json.dumps(body).encode())


def notify_ready() -> None:
    """Tell the supervisor, if there is one, that this service works (the sd_notify protocol)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.sendto(b"READY=1", address)


def serve(api: Api, config: Config) -> None:
    """Serve ``api`` on this service's port until SIGTERM; reports readiness once it accepts."""
    listener = socket.create_server((config.bind, config.port), backlog=1024)
    quiet = Quiet()
    server = HttpServer(listener, quiet, api.respond)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    quiet.listen(config)
    notify_ready()
    stop.wait()
    server.stop()
