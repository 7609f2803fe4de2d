"""What the plan's user asked of the cloud, as its history tells, and of which things.

An operation that was answered names the ids of what it acted on; of another one only the plan's own
names are known, which every thing that was ever seen under such a name may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from chaos.history import Done, Kind
from chaos.invariant import Evidence
from targets.cloud.world import CloudWorld


def asked(evidence: Evidence, operation: str) -> Iterator[Done]:
    """The operations of this name that may have taken effect: all but those clearly refused.

    A wait that failed says nothing against the operation that it followed; nor does a 5xx.
    """
    for done in evidence.history.operations:
        refused = done.outcome is Kind.FAIL and (
            HTTPStatus.BAD_REQUEST <= (done.status or 0) < HTTPStatus.INTERNAL_SERVER_ERROR
        )
        if done.operation == operation and not refused:
            yield done


def servers(evidence: Evidence, done: Done) -> frozenset[str]:
    """The ids of the servers that an operation on one server was, or may have been, about."""
    return _meant(evidence, done, "server")


def volumes(evidence: Evidence, done: Done) -> frozenset[str]:
    """The ids of the volumes that an operation on one volume was, or may have been, about."""
    return _meant(evidence, done, "volume")


def called(evidence: Evidence, kind: str, name: str) -> frozenset[str]:
    """The ids of the servers, or volumes, that ever had this name."""
    made = {
        done.answer["id"]
        for done in evidence.history.operations
        if done.operation == f"{kind}.create"
        and done.outcome is Kind.OK
        and done.arguments["name"] == name
    }
    return frozenset(made | {key for key, known in seen(evidence, kind).items() if known == name})


def seen(evidence: Evidence, kind: str) -> dict[str, str]:
    """The id and the name of every server, or volume, that was in the world at some moment."""
    worlds: list[CloudWorld] = [moment.world for moment in evidence.observations]  # type: ignore[misc]
    if kind == "server":
        return {i.uuid: i.name for world in worlds for i in world.instances}
    return {v.id: v.name for world in worlds for v in world.volumes}


def _meant(evidence: Evidence, done: Done, kind: str) -> frozenset[str]:
    if isinstance(done.answer, dict) and done.answer.get(kind):
        return frozenset({done.answer[kind]})
    return called(evidence, kind, done.arguments[kind])
