"""A server that was accepted and is in no cell yet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from targets.reference import context
from targets.reference.database import matching, utc_now
from targets.reference.nova import databases
from targets.reference.nova.attributes import Attributes, from_json
from targets.reference.nova.tables import BUILD_REQUESTS, INSTANCE_MAPPINGS


@dataclass(frozen=True, slots=True)
class RequestedDevice:
    """An existing volume that the server shall have."""

    volume: str
    delete_on_termination: bool


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What the user asked for. ``ram`` in MiB, ``disk`` in GiB.

    ``requested_networks`` lists ports of the user's; an empty string in it is a port to be made.
    """

    instance: str
    name: str
    project_id: str
    user_id: str
    image: str
    flavor: str
    vcpus: int
    ram: int
    disk: int
    metadata: dict[str, str] = field(default_factory=dict)
    requested_networks: tuple[str, ...] = ()
    devices: tuple[RequestedDevice, ...] = ()
    attributes: Attributes = field(default_factory=Attributes)
    tags: tuple[str, ...] = ()
    created_at: str = field(default_factory=utc_now)

    @property
    def is_locked_for_caller(self) -> bool:
        """Whether it is locked, and who asks is no administrator."""
        return self.attributes.locked and not context.current().is_admin

    @staticmethod
    def get(instance: str) -> BuildRequest | None:
        """Return the build request of an instance, None when there is none (any more)."""
        with databases.api().read() as connection:
            row = connection.execute(*matching(BUILD_REQUESTS, {"instance": instance})).first()
        return _from_spec(row.spec) if row is not None else None

    @staticmethod
    def find() -> list[BuildRequest]:
        """Return all, the oldest first."""
        query = sa.select(BUILD_REQUESTS.c.spec).order_by(BUILD_REQUESTS.c.created_at)
        with databases.api().read() as connection:
            return [_from_spec(spec) for spec in connection.scalars(query)]

    def create(self) -> None:
        """Write it down, with a mapping to no cell: from now on the server exists."""
        row = {"instance": self.instance, "spec": asdict(self), "created_at": self.created_at}
        mapping = {
            "instance": self.instance,
            "project_id": self.project_id,
            "queued_for_delete": False,
        }
        with databases.api().transaction() as connection:
            connection.execute(BUILD_REQUESTS.insert(), row)
            connection.execute(INSTANCE_MAPPINGS.insert(), mapping)

    @staticmethod
    def destroy(instance: str) -> bool:
        """Remove it. True for the one caller who did: a delete, or a conductor when it is built.

        It decides between the two: after a delete's True the server is not built, after a
        conductor's it is. Whoever was slower finds in the mapping whether it is wanted gone.
        """
        with databases.api().transaction() as connection:
            gone = connection.execute(BUILD_REQUESTS.delete().filter_by(instance=instance))
        return gone.rowcount == 1


def _from_spec(spec: dict[str, Any]) -> BuildRequest:
    devices = tuple(RequestedDevice(**device) for device in spec.pop("devices"))
    networks = tuple(spec.pop("requested_networks"))
    attributes, tags = from_json(spec.pop("attributes")), tuple(spec.pop("tags"))
    return BuildRequest(
        **spec, requested_networks=networks, devices=devices, attributes=attributes, tags=tags
    )
