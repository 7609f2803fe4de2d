"""What a host must have to be chosen for a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """Room for the flavor; beside that what is not None or empty.

    ``group`` is the server group whose policy holds, ``extra_specs`` the flavor's; ``cell`` and
    ``host`` are the only ones that will do; hosts of ``near``, a cell, are better than others.
    """

    instance: str
    vcpus: int
    ram: int
    disk: int
    zone: str | None = None
    group: str | None = None
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    cell: str | None = None
    host: str | None = None
    near: str | None = None

    @staticmethod
    def of_build(request: BuildRequest) -> RequestSpec:
        """Return what is wanted of a host for a new server."""
        said = request.attributes
        return RequestSpec(
            request.instance,
            request.vcpus,
            request.ram,
            request.disk,
            zone=said.availability_zone,
            group=said.group,
            extra_specs=_extra_specs(said.flavor),
        )

    @staticmethod
    def of_move(instance: Instance, migration: Migration, anywhere: bool) -> RequestSpec:
        """Return what is wanted of a host for a server that is to be moved.

        It stays in its cell, or at least rather there where it may go ``anywhere``.
        """
        new, said = migration.new_flavor, instance.attributes
        return RequestSpec(
            instance.uuid,
            new["vcpus"],
            new["ram"],
            new["disk"],
            zone=said.availability_zone,
            group=said.group,
            extra_specs=_extra_specs(new["described"]),
            cell=None if anywhere else migration.cell,
            host=migration.requested_host,
            near=migration.cell,
        )

    @staticmethod
    def of_unshelve(instance: Instance) -> RequestSpec:
        """Return what is wanted of a host for a server that comes again, within its cell."""
        said = instance.attributes
        return RequestSpec(
            instance.uuid,
            instance.vcpus,
            instance.ram,
            instance.disk,
            zone=said.availability_zone,
            group=said.group,
            extra_specs=_extra_specs(said.flavor),
            cell=instance.cell,
        )


def _extra_specs(flavor: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = flavor.get("extra_specs", {})
    return found
