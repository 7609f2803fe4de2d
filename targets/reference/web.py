"""The HTTP side of a service: routes to plain functions, each run in a thread of its own.

A handler takes a :class:`Request` and returns a dict (200), a :class:`Reply`, or None (204); it
runs with the caller's :mod:`context <targets.reference.context>` current. It is synchronous and has
its thread to itself, so a request that is held at some point holds nothing but itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from targets.reference import context, tokens
from targets.reference.config import Config
from targets.reference.context import RequestContext
from targets.reference.quiet import Quiet

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
BINARY = "application/octet-stream"
THREADS = 128


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
    the route's parameters, ``body`` the parsed JSON, or the bytes of what says that it is no text.
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


class Api:
    """The routes of one service, filled by decorating handlers.

    ``quiet`` counts the requests that are being served.

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
        self.quiet = Quiet()
        self._routes: list[Route] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

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

        def register(handler: Handler) -> Handler:
            async def endpoint(http: HttpRequest) -> Response:
                with self.quiet.serving(f"{http.method} {http.url.path}"):
                    raw = await _body(http)
                    return await asyncio.get_running_loop().run_in_executor(
                        self._threads, self._serve, handler, public, allowed, http, raw
                    )

            self._routes.append(Route(path, endpoint, methods=[method]))
            return handler

        return register

    def application(self) -> Starlette:
        """Return the ASGI application."""

        async def unmatched(_: HttpRequest, error: Exception) -> Response:
            status = getattr(error, "status_code", 500)
            return self._error(HttpError(status, HTTPStatus(status).phrase))

        return Starlette(routes=self._routes, exception_handlers={404: unmatched, 405: unmatched})

    def _serve(
        self,
        handler: Handler,
        public: bool,
        allowed: Callable[[], None],
        http: HttpRequest,
        raw: bytes | None,
    ) -> Response:
        headers = http.headers
        request_id = headers.get("x-openstack-request-id") or context.new_request_id()
        with context.use(RequestContext(request_id)) as anonymous:
            try:
                caller = anonymous if public else _authenticated(headers, request_id)
                request = Request(
                    http.method, str(http.base_url).rstrip("/"), http.path_params,
                    http.query_params, headers, _parsed(raw, headers),
                )  # fmt: skip
                with context.use(caller):
                    allowed()
                    response = _response(handler(request))
            except HttpError as error:
                response = self._error(error)
            except Exception:
                LOG.exception("%s %s failed", http.method, http.url.path)
                response = self._error(HttpError(500, "The request failed unexpectedly."))
        response.headers.update(self._headers(headers))
        response.headers["x-openstack-request-id"] = request_id
        response.headers["x-compute-request-id"] = request_id
        return response

    def _error(self, error: HttpError) -> Response:
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


async def _body(http: HttpRequest) -> bytes | None:
    """Return the body; None as soon as it is known to be too long, however it is sent."""
    length = http.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 10 or int(length) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


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


def _response(answer: Reply | dict[str, Any] | None) -> Response:
    if answer is None:
        return Response(status_code=204)
    if isinstance(answer, Reply):
        return _json(answer.status, answer.body, answer.headers)
    return _json(200, answer)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    if isinstance(body, bytes):
        return Response(body, status, headers=headers, media_type=BINARY)
    content = None if body is None else json.dumps(body).encode()
    media = None if body is None else "application/json"
    return Response(content, status, headers=headers, media_type=media)


def notify_ready() -> None:
    """Tell the supervisor, if there is one, that this service works (the sd_notify protocol)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.sendto(b"READY=1", address)


class _Server(uvicorn.Server):
    def __init__(self, settings: uvicorn.Config, api: Api, config: Config) -> None:
        super().__init__(settings)
        self._api = api
        self._config = config

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._api.quiet.listen(self._config)
        notify_ready()

    async def main_loop(self) -> None:
        # uvicorn's own wakes ten times a second to look at a flag; an idle service shall be idle.
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()


def serve(api: Api, config: Config) -> None:
    """Serve ``api`` on this service's port until SIGTERM; reports readiness once it accepts."""
    # asyncio turns Nagle's algorithm off only for sockets that say they are TCP: without the
    # protocol number a round trip takes 44 ms instead of 1 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((config.bind, config.port))
    listener.listen(1024)
    settings = uvicorn.Config(
        api.application(),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=1,
    )
    _Server(settings, api, config).run(sockets=[listener])
