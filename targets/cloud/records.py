"""What a plan's names stand for in the cloud, and what is seen of it there.

The ids that the cloud gave are kept in ``scope.made``, by kind and name. A thing whose creation was
never answered is looked for by its name among all that the user has; when it is not there it does
not exist.

Waits poll the interface, as clients do, and end at the scope's deadline; a look whose answer was
lost is repeated until then. What only looks does so by plain GET, through the SDK's lowest layer:
making its objects costs more than the whole round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from chaos.operation import ExpectationFailed, OperationFailed, OperationIndeterminate, Scope
from targets.cloud.client import acting_as

T = TypeVar("T")


def find(scope: Scope, proxy: Any, collection: str, name: str) -> str | None:
    """Return the id of what the plan calls ``name``; None when there is no such thing."""
    key = made(collection, name)
    if key not in scope.made:
        for found in listed(proxy, collection):
            if name in (found["name"], found["id"]):
                scope.made[key] = found["id"]
                break
    return scope.made.get(key)


def server_status(scope: Scope, server: str) -> str | None:
    """A server's status, ``SOFT_DELETED`` while it can still be restored; None when it is gone."""
    with acting_as(scope.request_id, scope.deadline_s):
        found = server_record(scope, server)
    return None if found is None else str(found["status"])


def made(collection: str, name: str) -> str:
    """Under what ``scope.made`` keeps an id: a server and a volume may have the same name."""
    return f"{collection}/{name}"


def server_id(scope: Scope, name: str) -> str:
    """Return the id of the server that the plan calls so."""
    return present(find(scope, scope.client.compute, "servers", name), f"server {name}")


def volume_id(scope: Scope, name: str) -> str:
    """Return the id of the volume that the plan calls so."""
    return present(find(scope, scope.client.block_storage, "volumes", name), f"volume {name}")


def delete(proxy: Any, collection: str, key: str | None) -> int:
    """Ask for it; the status: that it is gone already (404) is no failure."""
    from openstack.exceptions import raise_from_response

    if key is None:
        return 404
    response = proxy.delete(f"/{collection}/{key}")
    if response.status_code != 404:
        raise_from_response(response)
    return int(response.status_code)


def server_record(scope: Scope, name: str) -> dict[str, Any] | None:
    """Return what is seen of a server, None when there is none."""
    return show(scope, scope.client.compute, "servers", name)


def volume_record(scope: Scope, name: str) -> dict[str, Any] | None:
    """Return what is seen of a volume, None when there is none."""
    return show(scope, scope.client.block_storage, "volumes", name)


def show(scope: Scope, proxy: Any, collection: str, name: str) -> dict[str, Any] | None:
    """Return what a service shows of what the plan calls ``name``, None when there is none."""
    from openstack.exceptions import raise_from_response

    key = find(scope, proxy, collection, name)
    if key is None:
        return None
    response = proxy.get(f"/{collection}/{key}")
    if response.status_code == 404:
        return None
    raise_from_response(response)
    shown: dict[str, Any] = response.json()
    # The image service shows an image as it is, the others wrap what they show.
    found: dict[str, Any] = shown.get(collection.removesuffix("s"), shown)
    return found


def image_record(scope: Scope, name: str) -> dict[str, Any] | None:
    """Return what is seen of an image, None when there is none."""
    return show(scope, scope.client.image, "images", name)


def listed(proxy: Any, collection: str) -> list[dict[str, Any]]:
    """Return id and name, at least, of all ``servers``, ``volumes`` or ``ports`` of the user."""
    from openstack.exceptions import raise_from_response

    response = proxy.get(f"/{collection}")
    raise_from_response(response)
    found: list[dict[str, Any]] = response.json()[collection]
    return found


def present(found: T | None, what: str) -> T:
    """Return what was found.

    Raises:
        OperationFailed: 404, nothing was.
    """
    if found is None:
        raise OperationFailed(f"{what} does not exist", 404)
    return found


def expect(what: str, **checks: tuple[Any, Any]) -> None:
    """Compare what is with what the plan wants, unless it wants nothing: ``name=(wanted, actual)``.

    Raises:
        ExpectationFailed: something is otherwise.
    """
    wrong = [
        f"{name} is {actual!r}, expected {wanted!r}"
        for name, (wanted, actual) in checks.items()
        if wanted != actual
    ]
    if wrong:
        raise ExpectationFailed(f"{what}: {'; '.join(wrong)}")


def until(
    scope: Scope,
    what: str,
    look: Callable[[], T],
    reached: Callable[[T], bool],
    describe: Callable[[Any], str],
) -> T:
    """Look until it is ``reached``; where an answer is lost, look again.

    Raises:
        ExpectationFailed: by the deadline it was not.
        OperationIndeterminate: by the deadline there was no answer at all.
    """
    deadline = time.monotonic() + scope.deadline_s
    last: str | None = None
    while True:
        left_s = deadline - time.monotonic()
        try:
            with acting_as(scope.request_id, max(left_s, scope.poll_s)):
                found = look()
        except OperationIndeterminate:
            if last is None and time.monotonic() >= deadline:
                raise
        else:
            if reached(found):
                return found
            last = describe(found)
        if time.monotonic() >= deadline:
            raise ExpectationFailed(f"waited {scope.deadline_s:g} s for {what}; it is {last}")
        scope.sleep(scope.poll_s)


def until_gone(scope: Scope, what: str, look: Callable[[], dict[str, Any] | None]) -> None:
    """Look until there is nothing any more."""
    until(
        scope,
        f"{what} to go",
        look,
        lambda found: found is None,
        lambda found: f"{found['status']} still",
    )
