"""Microversions: which 2.N a request asks for, looked up in a table."""

from __future__ import annotations

from targets.reference.web import Headers, HttpError, Request

OLDEST, LATEST = 1, 96
"""The N of 2.1 and of the latest microversion."""

_ASKED = {f"2.{minor}": minor for minor in range(OLDEST, LATEST + 1)} | {"latest": LATEST}
_HEADERS = {
    minor: {
        "OpenStack-API-Version": f"compute 2.{minor}",
        "X-OpenStack-Nova-API-Version": f"2.{minor}",
        "Vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }
    for minor in range(OLDEST, LATEST + 1)
}


def of(request: Request) -> int:
    """Return the N of the 2.N that the request asks for; 2.1 when it says nothing.

    Raises:
        HttpError: 400, it is no version; 406, it is none of ours.
    """
    asked = _asked(request.headers)
    found = _ASKED.get(asked)
    if found is None:
        raise _refusal(asked)
    return found


def headers(asked: Headers) -> dict[str, str]:
    """Return what an answer says of its microversion."""
    return _HEADERS.get(_ASKED.get(_asked(asked), OLDEST), {})


def text(minor: int) -> str:
    """Return a microversion as it is written."""
    return f"2.{minor}"


def _asked(headers: Headers) -> str:
    for said in headers.get("openstack-api-version", "").split(","):
        service, _, version = said.strip().partition(" ")
        if service == "compute":
            return version.strip()
    return headers.get("x-openstack-nova-api-version", "2.1")


def _refusal(asked: str) -> HttpError:
    major, _, minor = asked.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        return HttpError(
            400,
            f"API Version String {asked} is of invalid format. Must be of format"
            " MajorNum.MinorNum.",
        )
    return HttpError(
        406,
        f"Version {asked} is not supported by the API. Minimum is {text(OLDEST)} and maximum is"
        f" {text(LATEST)}.",
    )
