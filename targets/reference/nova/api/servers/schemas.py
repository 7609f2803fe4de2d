"""What clients may send of a server."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from targets.reference.schema import Boolean, Metadata, Name, Positive, Schema, Text255, Uuid, read
from targets.reference.web import HttpError


def _encoded(text: str) -> str:
    base64.b64decode("".join(text.split()), validate=True)
    return text


Base64 = Annotated[str, Field(max_length=65535), AfterValidator(_encoded)]
Address4 = Annotated[str, StringConstraints(pattern=r"^(\d{1,3}(\.\d{1,3}){3})?$")]
Address6 = Annotated[str, StringConstraints(pattern=r"^([0-9a-fA-F:.]{2,45})?$")]
Hostname = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-.]{0,254}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[^,/]{1,60}$")]
Tags = Annotated[list[Tag], Field(max_length=50)]
Reference = Annotated[str, Field(min_length=1, max_length=255)]


class Network(Schema):
    """A network, or a port, that a new server is to have."""

    uuid: Uuid | None = None
    port: Uuid | None = None
    fixed_ip: Text255 | None = None
    tag: Tag | None = None


class Device(Schema):
    """A disk that a new server is to have."""

    source_type: Literal["volume", "image", "snapshot", "blank"]
    uuid: Text255 | None = None
    destination_type: Literal["volume", "local"] | None = None
    boot_index: Annotated[int, Field(strict=False, ge=-1, le=1000)] | None = None
    delete_on_termination: Boolean = False
    volume_size: Annotated[int, Field(strict=False, ge=1)] | None = None
    volume_type: Text255 | None = None
    device_name: Text255 | None = None
    disk_bus: Text255 | None = None
    device_type: Text255 | None = None
    guest_format: Text255 | None = None
    image_id: Text255 | None = None
    volume_id: Text255 | None = None
    snapshot_id: Text255 | None = None
    no_device: bool | str | None = None
    tag: Tag | None = None


class SecurityGroup(Schema):
    """A security group of a new server."""

    name: Text255


class NewServer(Schema):
    """A server as it is made; what came with a later microversion is gated by :data:`SINCE`."""

    name: Name
    flavorRef: Annotated[str, Field(min_length=1, max_length=255)] | int
    imageRef: Text255 | None = None
    adminPass: Text255 | None = None
    metadata: Metadata = {}
    networks: list[Network] | Literal["auto", "none"] | None = None
    disk_config: Literal["AUTO", "MANUAL"] = Field("MANUAL", alias="OS-DCF:diskConfig")
    accessIPv4: Address4 = ""
    accessIPv6: Address6 = ""
    personality: list[dict[str, Any]] = []
    availability_zone: Text255 | None = None
    key_name: Text255 | None = None
    user_data: Base64 | None = None
    config_drive: Boolean | Literal[""] | None = None
    security_groups: list[SecurityGroup] | None = None
    min_count: Positive = 1
    max_count: Positive | None = None
    return_reservation_id: Boolean = False
    block_device_mapping_v2: Annotated[list[Device], Field(max_length=255)] = []
    description: Text255 | None = None
    tags: Tags = []
    trusted_image_certificates: list[Text255] | None = None
    host: Text255 | None = None
    hypervisor_hostname: Text255 | None = None
    hostname: Hostname | None = None


SINCE = {
    "description": 19,
    "tags": 52,
    "trusted_image_certificates": 63,
    "host": 74,
    "hypervisor_hostname": 74,
    "hostname": 90,
}
UNTIL = {"personality": 56}


class Hints(Schema, extra="allow"):
    """What is said to the scheduler."""

    group: Uuid | None = None


class ServerChange(Schema):
    """What can be changed of a server."""

    name: Name | None = None
    disk_config: Literal["AUTO", "MANUAL"] | None = Field(None, alias="OS-DCF:diskConfig")
    accessIPv4: Address4 | None = None
    accessIPv6: Address6 | None = None
    description: Text255 | None = None
    hostname: Hostname | None = None


class OfMetadata(Schema):
    """Metadata of a server."""

    metadata: Metadata


class OfMetadataItem(Schema):
    """One item of a server's metadata."""

    meta: Annotated[Metadata, Field(min_length=1, max_length=1)]


class OfTags(Schema):
    """Tags of a server."""

    tags: Tags


def check_version(given: dict[str, Any], version: int) -> None:
    """See that nothing is said that the microversion does not know.

    Raises:
        HttpError: 400, there is.
    """
    strange = {name for name, since in SINCE.items() if name in given and version < since}
    strange |= {name for name, until in UNTIL.items() if name in given and version > until}
    if strange:
        raise HttpError(
            400, f"Additional properties are not allowed ({sorted(strange)} were unexpected)"
        )


def read_new(body: Any, version: int) -> tuple[NewServer, Hints]:
    """Read the body of a create.

    Raises:
        HttpError: 400, it is not as the schema says.
    """
    if not isinstance(body, dict) or not isinstance(body.get("server"), dict):
        raise HttpError(
            400, "Invalid input for field/attribute server. 'server' is a required property"
        )
    rest = {key: value for key, value in body.items() if key != "server"}
    hints: Any = {}
    for name in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
        hints = rest.pop(name, hints)
    if rest:
        raise HttpError(
            400, f"Additional properties are not allowed ({sorted(rest)} were unexpected)"
        )
    check_version(body["server"], version)
    return read(NewServer, body["server"], "server"), read(Hints, hints, "os:scheduler_hints")
