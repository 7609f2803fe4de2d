"""Signed tokens: any service verifies one by itself, so none is stored and none is lost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import jwt

from targets.reference import config
from targets.reference.context import RequestContext, new_request_id

LIFETIME_S = 24 * 3600
PROJECT_ID = "5a1c9d0e4b7f4c3e8d2a6b1f0e9c7d35"
"""The id of the project ``demo``."""
SERVICE_PROJECT_ID = "0d5ad3a3d1b64a86b7b3bd8b06a1c7f2"
"""The id of the project ``service``, for which services work by themselves."""


class InvalidToken(Exception):
    """The token is forged, malformed or out of date."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says; times in seconds since the epoch.

    It is for one project, for the whole ``system``, or, without roles, for neither.
    """

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    system: bool
    issued_at: int
    expires_at: int


def issue(user_id: str, project_id: str, roles: tuple[str, ...], *, system: bool = False) -> str:
    """Sign a token for a user, in a project or the whole system."""
    now = int(time.time())
    claims = {
        "sub": user_id,
        "prj": project_id,
        "rol": roles,
        "sys": system,
        "iat": now,
        "exp": now + LIFETIME_S,
    }
    return jwt.encode(claims, config.current().token_secret, algorithm="HS256")


def verify(token: str) -> Token:
    """Read a token.

    Raises:
        InvalidToken: it was not signed by this control plane, or is out of date.
    """
    known = _signed(token, config.current().token_secret)
    if known.expires_at <= time.time():
        raise InvalidToken("it is out of date")
    return known


@lru_cache(256)  # a client shows the same one all the time
def _signed(token: str, secret: str) -> Token:
    """Read a token that was signed with this secret, however old."""
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], options={"verify_exp": False})
        return Token(
            claims["sub"], claims["prj"], tuple(claims["rol"]), claims["sys"], claims["iat"],
            int(claims["exp"]),
        )  # fmt: skip
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
        raise InvalidToken(str(error)) from error


def service_context(request_id: str = "") -> RequestContext:
    """Return a context for work that no user asked for, such as a service's start-up."""
    roles = ("service",)
    token = issue("service", SERVICE_PROJECT_ID, roles)
    return RequestContext(
        request_id or new_request_id(), SERVICE_PROJECT_ID, "service", token, roles
    )
