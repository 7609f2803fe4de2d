"""What a user says of a server beyond its size: kept as it is, whatever is done with the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from targets.reference.nova.flavors import Flavor


@dataclass(frozen=True, slots=True)
class Attributes:
    """One version; ``flavor`` is what a flavor says beside what the server's record has of it.

    ``availability_zone`` is the one that was asked for, ``group`` the server group.
    """

    flavor: dict[str, Any] = field(default_factory=dict)
    hostname: str = ""
    description: str | None = None
    key_name: str | None = None
    user_data: str | None = None
    config_drive: bool = False
    access_ipv4: str = ""
    access_ipv6: str = ""
    disk_config: str = "MANUAL"
    availability_zone: str | None = None
    group: str | None = None
    security_groups: list[str] = field(default_factory=list)
    reservation_id: str = ""
    launch_index: int = 0
    locked: bool = False
    locked_by_admin: bool = False
    locked_reason: str | None = None
    trusted_image_certificates: list[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is kept; :func:`from_json` reads it back."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(field.name for field in fields(Attributes))


def from_json(kept: Mapping[str, Any]) -> Attributes:
    """Read what :meth:`Attributes.to_json` wrote."""
    return Attributes(**kept)


def of_flavor(flavor: Flavor) -> dict[str, Any]:
    """Return what is kept of a flavor, so that it can change without the server."""
    return {
        "id": flavor.id,
        "name": flavor.name,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "extra_specs": flavor.extra_specs,
    }
