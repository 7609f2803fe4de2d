"""The routes of one resource: each with the rule that allows it and its microversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from targets.reference.nova.api import microversion
from targets.reference.nova.api.policy import POLICY
from targets.reference.web import Api, Handler, HttpError, Reply, Request

PREFIX = "/v2.1"


class Router:
    """Filled by decorating handlers; ``api.py`` puts all routers together."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, str, Callable[[], None], Handler]] = []

    def route(
        self,
        method: str,
        path: str,
        rule: str,
        *,
        since: int = microversion.OLDEST,
        until: int = microversion.LATEST,
    ) -> Callable[[Handler], Handler]:
        """Serve ``method /v2.1/path`` in the microversions 2.``since`` to 2.``until``."""
        versions = range(since, until + 1)
        check = POLICY.check(rule)

        def register(handler: Handler) -> Handler:
            def checked(request: Request) -> Reply | dict[str, Any] | None:
                if microversion.of(request) not in versions:
                    raise HttpError(404, "The resource could not be found.")
                return handler(request)

            self._routes.append((method, PREFIX + path, check, checked))
            return handler

        return register

    def add_to(self, api: Api) -> None:
        """Have ``api`` serve these routes."""
        for method, path, allowed, handler in self._routes:
            api.route(method, path, allowed=allowed)(handler)


def url(request: Request, *parts: str) -> str:
    """Return the URL of a resource, as the client knows this service."""
    return "/".join((request.base + PREFIX, *parts))
