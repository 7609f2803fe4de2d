"""On whose behalf this thread works, and which request made it.

The request id is the one that the client sent in ``X-OpenStack-Request-Id``; it goes along with
every call to another service and with every message, so that one id names the whole chain.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request's identity and its user's rights."""

    request_id: str
    project_id: str = ""
    user_id: str = ""
    token: str = ""
    roles: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether the user may see and change what other projects own."""
        return "admin" in self.roles or "service" in self.roles

    def to_message(self) -> dict[str, Any]:
        """Return it as it travels in a message; :meth:`from_message` reads it back."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> RequestContext:
        """Read what :meth:`to_message` wrote."""
        return cls(**{**message, "roles": tuple(message["roles"])})


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def new_request_id() -> str:
    """Make an id in OpenStack's form, ``req-`` and a UUID."""
    return f"req-{uuid.uuid4()}"


def current() -> RequestContext:
    """Return the context of the request that this thread serves.

    Raises:
        LookupError: it serves none.
    """
    context = _current.get()
    if context is None:
        raise LookupError("this thread serves no request; enter one with `use(context)`")
    return context


def current_request_id() -> str | None:
    """Return the id of the request that this thread serves, None when it serves none."""
    context = _current.get()
    return context.request_id if context else None


@contextmanager
def use(context: RequestContext) -> Iterator[RequestContext]:
    """Serve ``context``'s request in this thread for the length of the block."""
    reset = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(reset)


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id() or "-"
        return True


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write the process's log to standard error, one line an event, each with its request id."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RequestId())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
